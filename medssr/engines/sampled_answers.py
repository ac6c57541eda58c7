"""Samples answers to many questions, and stores them in chunks so that a killed run resumes."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medssr.answers import extract_choice
from medssr.engines.streaming import Request, stream_completions
from medssr.engines.truncation import TruncationWatch
from medssr.engines.types import Completion, RolloutEngine, Sampling
from medssr.errors import InputError
from medssr.models.policy import Policy
from medssr.questions import Question
from medssr.utils.files import read_jsonl, write_lines_atomically
from medssr.utils.progress import Progress
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
    progress: Progress,
    answer: Callable[[Iterable[range]], Generator[tuple[int, list[SampledAnswer]]]],
) -> Generator[list[SampledAnswer]]:
    """Yields the answers to each question in order; existing chunks in `directory` are read instead of computed.

    A chunk is written once it is whole, in whatever order that happens; the answers in memory are those of chunks with
    a question that is under way.

    Args:
        questions: The questions.
        directory: The folder of the chunks.
        questions_per_chunk: Number of questions per chunk; an interrupted run repeats the chunks that are not whole.
        progress: Counts the answers.
        answer: Yields the index of each question of some chunks, which are ranges of indices, with its answers, in any
            order. It takes a chunk once it has room for its questions.

    Raises:
        InputError: When a chunk holds the answers to other questions.
    """
    size = questions_per_chunk
    chunks = [range(start, min(start + size, len(questions))) for start in range(0, len(questions), size)]
    store = _ChunkStore(questions, directory, chunks, progress)
    with ExitStack() as opened:
        answered: Iterator[tuple[int, list[SampledAnswer]]] | None = None
        for number, chunk in enumerate(chunks):
            answers = store.read(chunk) if answered is None else None
            if answers is not None:
                progress.skip(sum(map(len, answers)))
            else:
                if answered is None:
                    answered = opened.enter_context(closing(answer(store.unanswered(number))))
                while not store.is_whole(chunk) and (answered_question := next(answered, None)) is not None:
                    store.add(*answered_question)
                answers = store.read(chunk)
                assert answers is not None
            yield from answers


class _ChunkStore:
    """The files of chunks, and the answers to the questions of chunks that are not whole.

    Args:
        questions: The questions.
        directory: The folder of the files.
        chunks: The indices of each chunk's questions; all chunks but the last have the same number.
        progress: Counts the answers.
    """

    def __init__(
        self, questions: Sequence[Question], directory: Path, chunks: Sequence[range], progress: Progress
    ) -> None:
        self._questions = questions
        self._directory = directory
        self._chunks = chunks
        self._progress = progress
        self._whole: set[int] = set()  # the starts of chunks whose file is there, as far as it was looked for
        self._answers: dict[int, dict[int, list[SampledAnswer]]] = {}  # by start of the chunk and by index

    def read(self, chunk: range) -> list[list[SampledAnswer]] | None:
        """Returns the answers in a chunk's file; None if it is not there, or damaged."""
        file = self._file(chunk)
        return _read_chunk(file, self._questions[chunk.start : chunk.stop]) if file.is_file() else None

    def unanswered(self, first: int) -> Iterator[range]:
        """Yields a chunk that is known to have no file, and those after it that have none."""
        yield self._chunks[first]
        for chunk in self._chunks[first + 1 :]:
            if (answers := self.read(chunk)) is None:
                yield chunk
            else:
                self._whole.add(chunk.start)
                self._progress.skip(sum(map(len, answers)))

    def is_whole(self, chunk: range) -> bool:
        """Returns whether the file of a chunk is known to be there."""
        return chunk.start in self._whole

    def add(self, index: int, answers: list[SampledAnswer]) -> None:
        """Adds the answers to a question, and writes its chunk if they are the last of it."""
        chunk = self._chunks[index // len(self._chunks[0])]
        rows = self._answers.setdefault(chunk.start, {})
        rows[index] = answers
        self._progress.advance(len(answers))
        if len(rows) == len(chunk):
            questions = self._questions[chunk.start : chunk.stop]
            _write_chunk(self._file(chunk), questions, [rows[index] for index in chunk])
            del self._answers[chunk.start]
            self._whole.add(chunk.start)
            number = 1 + chunk.start // len(self._chunks[0])
            log.debug("%s: chunk %d of %d", self._directory, number, len(self._chunks))

    def _file(self, chunk: range) -> Path:
        return self._directory / f"{chunk.start:07d}.jsonl"


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


def read_answers(directory: Path) -> Iterator[tuple[str, list[SampledAnswer]]]:
    """Yields the id of each question with its answers, from the chunks of a finished step in their order.

    Raises:
        InputError: When there is no chunk, or one is not as it was written.
    """
    files = sorted(directory.glob("*.jsonl"))
    if not files:
        raise InputError.at(directory, "holds no answers; give the folder that medssr-pseudo-label made.")
    for file in files:
        for line, record in read_jsonl(file, allows_nan=True):
            checked = _checked(record, file, line)
            yield checked["question_id"], [SampledAnswer(**item) for item in checked["answers"]]


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
        questions_per_chunk: Number of questions per chunk; an interrupted run repeats the chunks that are not whole.
    """

    policy: Policy
    engine: RolloutEngine
    sampling: Sampling
    num_samples: int
    seed: int
    purpose: str
    questions_per_chunk: int

    def sample(
        self, questions: Sequence[Question], directory: Path, source: Path | str
    ) -> Generator[list[SampledAnswer]]:
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

        def answer(chunks: Iterable[range]) -> Generator[tuple[int, list[SampledAnswer]]]:
            batches = (self._requests(questions, chunk, source) for chunk in chunks)
            with closing(stream_completions(self.engine, batches, self.sampling)) as completions:
                for index, group in completions:
                    yield index, [read_completion(item, questions[index]) for item in group]

        num_answers = len(questions) * self.num_samples
        watch = TruncationWatch(self.purpose, "labeling.max_new_tokens", num_answers)
        with (
            Progress("pseudo_label", num_answers, "completions") as progress,
            closing(answers_in_chunks(questions, directory, self.questions_per_chunk, progress, answer)) as rows,
        ):
            for answers in rows:
                watch.add(item.is_truncated for item in answers)
                yield answers

    def _requests(self, questions: Sequence[Question], chunk: range, source: Path | str) -> list[Request]:
        asked = questions[chunk.start : chunk.stop]
        prompts = self.policy.encode(asked, self.sampling.max_new_tokens, source)
        return [
            Request(index, prompt, answer_seeds(self.seed, self.purpose, question, self.num_samples))
            for index, prompt, question in zip(chunk, prompts, asked, strict=True)
        ]


def answer_seeds(seed: int, purpose: str, question: Question, num_samples: int) -> list[int]:
    """Returns the seed of each answer to a question, which depends on the run's seed, the purpose and the question."""
    return [derive_seed(seed, purpose, question.id, sample) for sample in range(num_samples)]
