"""Samples answers to many questions, and stores them in chunks so that a killed run resumes."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medssr.answers import extract_choice
from medssr.engines.truncation import TruncationWatch
from medssr.engines.types import Completion, RolloutEngine, Sampling
from medssr.errors import InputError
from medssr.models.policy import Policy
from medssr.questions import Question
from medssr.utils.files import read_jsonl, write_lines_atomically
from medssr.utils.progress import track
from medssr.utils.seeding import derive_seed

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SampledAnswer:
    """One completion and the answer extracted from it.

    Attributes:
        text: The completion; empty if nothing was generated.
        num_tokens: Number of generated tokens.
        is_truncated: Whether the completion was truncated.
        letter: The chosen option, or None.
        reason: The extractor's reason for the letter or for None.
        recovered: The option that the second pass chose if `letter` is None.
        letter_logps: The log-likelihood of each letter, if letters were compared.
    """

    text: str
    num_tokens: int
    is_truncated: bool
    letter: str | None
    reason: str
    recovered: str | None = None
    letter_logps: dict[str, float] | None = None


def answers_in_chunks(
    questions: Sequence[Question],
    directory: Path,
    questions_per_chunk: int,
    description: str,
    is_progress_shown: bool,
    answer: Callable[[int, int], list[list[SampledAnswer]]],
) -> Iterator[list[SampledAnswer]]:
    """Yields the answers to each question in order; existing chunks in `directory` are read instead of computed.

    Args:
        questions: The questions.
        directory: The folder of the chunks.
        questions_per_chunk: Number of questions per chunk; an interrupted run repeats at most one chunk.
        description: A short description for the progress bar.
        is_progress_shown: Whether to show a progress bar.
        answer: Returns the answers to the questions with indices from start (included) to end (excluded).

    Raises:
        InputError: When a chunk holds the answers to other questions.
    """
    starts = range(0, len(questions), questions_per_chunk)
    for start in track(starts, description, len(starts), is_progress_shown):
        chunk = questions[start : start + questions_per_chunk]
        file = directory / f"{start:07d}.jsonl"
        answers = _read_chunk(file, chunk) if file.is_file() else None
        if answers is None:
            _write_chunk(file, chunk, answer(start, start + len(chunk)))
            log.debug("%s: chunk %d of %d", description, start // questions_per_chunk + 1, len(starts))
            answers = _read_chunk(file, chunk)
            assert answers is not None
        yield from answers


def _read_chunk(file: Path, questions: Sequence[Question]) -> list[list[SampledAnswer]] | None:
    """Returns the answers in a chunk; None where it is damaged, so that its questions are answered again.

    Raises:
        InputError: When the chunk holds the answers to other questions.
    """
    try:
        records = [_checked(record, file, line) for line, record in read_jsonl(file, allows_nan=True)]
        answers = [[SampledAnswer(**item) for item in record["answers"]] for record in records]
        answered = [record["question_id"] for record in records]
    except (InputError, KeyError, TypeError) as error:
        problem = error if isinstance(error, InputError) else f"{file}: is no chunk of answers ({error})"
        log.warning("%s Its questions are answered again.", problem)
        return None
    asked = [question.id for question in questions]
    if answered != asked[: len(answered)]:
        raise InputError.at(file, "holds answers to other questions; run the command again with force=true.")
    if len(answered) < len(asked):
        log.warning("%s: was cut after %d of %d questions, which are answered again", file, len(answered), len(asked))
        return None
    return answers


def read_completion(completion: Completion, question: Question, prefill: str = "") -> SampledAnswer:
    """Returns a completion with its extracted answer; `prefill` is the beginning that the model was given."""
    text = prefill + completion.text
    choice = extract_choice(text, question.options)
    return SampledAnswer(text, len(completion.token_ids), completion.is_truncated, choice.letter, str(choice.reason))


def _write_chunk(file: Path, questions: Sequence[Question], answers: list[list[SampledAnswer]]) -> None:
    records = (
        {"question_id": question.id, "answers": [asdict(item) for item in row]}
        for question, row in zip(questions, answers, strict=True)
    )
    write_lines_atomically(file, (_line(record | {"crc32": _checksum(record)}) for record in records))


def _checked(record: dict[str, Any], file: Path, line: int) -> dict[str, Any]:
    """Returns a record of a chunk without its checksum.

    Raises:
        InputError: When the record is not what was written.
    """
    checksum = record.pop("crc32")
    if checksum != _checksum(record):
        raise InputError.at(file, "is not as it was written (checksum).", line=line)
    return record


def _checksum(record: dict[str, Any]) -> int:
    return zlib.crc32(_line(record).encode())


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class AnswerSampler:
    """Samples several answers of a policy to each question.

    Attributes:
        policy: Encodes the prompts.
        engine: Samples the completions.
        sampling: How tokens are sampled.
        num_samples: Number of answers per question.
        seed: Run seed.
        purpose: "votes" or "evaluation": answers for different purposes have independent seeds.
        questions_per_chunk: Number of questions per chunk; an interrupted run repeats at most one chunk.
        is_progress_shown: Whether to show a progress bar.
    """

    policy: Policy
    engine: RolloutEngine
    sampling: Sampling
    num_samples: int
    seed: int
    purpose: str
    questions_per_chunk: int
    is_progress_shown: bool

    def sample(
        self, questions: Sequence[Question], directory: Path, source: Path | str
    ) -> Iterator[list[SampledAnswer]]:
        """Yields the answers to each question in order; existing chunks in `directory` are read instead of sampled.

        Args:
            questions: The questions.
            directory: The folder of the chunks.
            source: The questions' file, for messages.

        Raises:
            InputError: When a prompt does not fit the policy's context; raised before anything is sampled.
        """
        num_new_tokens = self.sampling.max_new_tokens
        self.policy.check_prompts(questions, num_new_tokens, source)

        def answer(start: int, end: int) -> list[list[SampledAnswer]]:
            chunk = questions[start:end]
            return self._answer(chunk, self.policy.encode(chunk, num_new_tokens, source))

        description = f"{self.purpose}: {len(questions)} questions x {self.num_samples}"
        watch = TruncationWatch(self.purpose, "labeling.max_new_tokens", len(questions) * self.num_samples)
        for answers in answers_in_chunks(
            questions, directory, self.questions_per_chunk, description, self.is_progress_shown, answer
        ):
            watch.add(item.is_truncated for item in answers)
            yield answers

    def _answer(self, questions: Sequence[Question], prompts: list[list[int]]) -> list[list[SampledAnswer]]:
        seeds = [
            [derive_seed(self.seed, self.purpose, question.id, sample) for sample in range(self.num_samples)]
            for question in questions
        ]
        completions = self.engine.generate(prompts, seeds, self.sampling)
        return [
            [read_completion(item, question) for item in group]
            for question, group in zip(questions, completions, strict=True)
        ]
