"""Sampled answers to many questions, kept chunk by chunk so that a killed run goes on where it was."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from medssr.answers import extract_choice
from medssr.models.policy import Policy
from medssr.questions import Question
from medssr.rollout.engine import RolloutEngine
from medssr.rollout.types import Completion, Sampling
from medssr.utils.files import read_jsonl, write_lines_atomically
from medssr.utils.progress import track
from medssr.utils.seeding import derive_seed

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SampledAnswer:
    """One completion and what was read from it."""

    text: str
    num_tokens: int
    is_truncated: bool
    letter: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class AnswerSampler:
    """Asks a policy every question several times.

    Attributes:
        policy: Encodes the prompts.
        engine: Samples.
        sampling: How tokens are drawn.
        num_samples: Answers per question.
        seed: Run seed.
        purpose: "votes" or "evaluation": answers for different purposes are independent draws.
        questions_per_chunk: What an interrupted run repeats at most.
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
        """Yields the answers to each question in order; chunks that are in `directory` are read, not sampled again.

        Args:
            questions: What to ask.
            directory: Where the chunks are kept.
            source: The questions' file, for messages.

        Raises:
            InputError: When a prompt does not fit the policy's context; before anything is sampled.
        """
        prompts = self.policy.encode(list(questions), self.sampling.max_new_tokens, source)
        starts = range(0, len(questions), self.questions_per_chunk)
        description = f"{self.purpose}: {len(questions)} questions x {self.num_samples}"
        for start in track(starts, description, len(starts), self.is_progress_shown):
            end = start + self.questions_per_chunk
            file = directory / f"{start:07d}.jsonl"
            if not file.is_file():
                self._sample_chunk(questions[start:end], prompts[start:end], file)
                log.debug("%s: chunk %d of %d", self.purpose, start // self.questions_per_chunk + 1, len(starts))
            for _, record in read_jsonl(file):
                yield [SampledAnswer(**answer) for answer in record["answers"]]

    def _sample_chunk(self, questions: Sequence[Question], prompts: list[list[int]], file: Path) -> None:
        seeds = [
            [derive_seed(self.seed, self.purpose, question.id, sample) for sample in range(self.num_samples)]
            for question in questions
        ]
        completions = self.engine.generate(prompts, seeds, self.sampling)
        lines = (
            json.dumps(
                {"question_id": question.id, "answers": [asdict(_read(question, item)) for item in group]},
                ensure_ascii=False,
            )
            for question, group in zip(questions, completions, strict=True)
        )
        write_lines_atomically(file, lines)


def _read(question: Question, completion: Completion) -> SampledAnswer:
    choice = extract_choice(completion.text, question.options)
    return SampledAnswer(
        completion.text, len(completion.token_ids), completion.is_truncated, choice.letter, str(choice.reason)
    )
