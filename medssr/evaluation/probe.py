"""A labelled question set that training is watched on: which questions, how the policy does on them, when to stop."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medssr.answers import extract_choice
from medssr.config import ProbeConfig
from medssr.data.benchmarks import load_benchmark
from medssr.evaluation.statistics import wilson_interval
from medssr.questions import Question
from medssr.rollout.engine import RolloutEngine
from medssr.rollout.types import Sampling
from medssr.utils.seeding import derive_seed


def probe_questions(config: ProbeConfig, seed: int) -> list[Question]:
    """Returns the questions of the probe in the order of their file: all, or as many as are asked for, drawn.

    Raises:
        InputError: When the file is absent or faulty.
    """
    questions = list(load_benchmark(Path(config.path)))
    if config.num_questions is None or config.num_questions >= len(questions):
        return questions
    drawn = random.Random(derive_seed(seed, "probe")).sample(range(len(questions)), config.num_questions)
    return [questions[place] for place in sorted(drawn)]


def without(questions: Iterable[Question], probe: Iterable[Question]) -> list[Question]:
    """Returns the questions that are not in the probe, whatever their ids and the order of their options."""
    held_out = {question.content_key for question in probe}
    return [question for question in questions if question.content_key not in held_out]


@dataclass(frozen=True, slots=True)
class ProbeScore:
    """How a policy does on the probe, with one answer to each question, its likeliest token by token."""

    num_questions: int
    num_right: int
    num_invalid: int

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return self.num_right / self.num_questions

    def metrics(self) -> dict[str, float]:
        """Returns the score as metrics, the accuracy with its 95% interval."""
        interval = wilson_interval(self.num_right, self.num_questions)
        return {
            "val/probe/accuracy": self.accuracy,
            "val/probe/accuracy_low": interval.low,
            "val/probe/accuracy_high": interval.high,
            "val/probe/invalid_share": self.num_invalid / self.num_questions,
            "val/probe/num_questions": float(self.num_questions),
        }


def score_probe(
    engine: RolloutEngine, questions: Sequence[Question], prompts: Sequence[list[int]], max_new_tokens: int
) -> ProbeScore:
    """Returns the score of the policy that an engine generates with.

    Args:
        engine: Its weights are those to be scored.
        questions: With answers.
        prompts: Token ids of each.
        max_new_tokens: Answers are cut here.
    """
    greedy = Sampling(temperature=1.0, max_new_tokens=max_new_tokens, top_k=1, has_logps=False)
    answers = engine.generate(prompts, [[0]] * len(prompts), greedy)
    letters = [
        extract_choice(completion.text, question.options).letter
        for question, (completion,) in zip(questions, answers, strict=True)
    ]
    return ProbeScore(
        len(questions),
        sum(letter == question.answer for letter, question in zip(letters, questions, strict=True)),
        letters.count(None),
    )


@dataclass(slots=True)
class ProbeHistory:
    """What early stopping remembers of the scores so far.

    Attributes:
        start: Accuracy before any training.
        best: The highest accuracy.
        best_step: Training steps done when it was first reached.
        num_since_best: Scores since then.
    """

    start: float | None = None
    best: float = -1.0
    best_step: int = 0
    num_since_best: int = 0

    def add(self, num_done: int, accuracy: float) -> bool:
        """Takes in the accuracy after so many training steps; returns whether it is the best so far."""
        if self.start is None:
            self.start = accuracy
        if accuracy <= self.best:
            self.num_since_best += 1
            return False
        self.best, self.best_step, self.num_since_best = accuracy, num_done, 0
        return True

    def is_exhausted(self, config: ProbeConfig, num_done: int) -> bool:
        """Returns whether training should stop: no better score for `patience` probes, and not too early."""
        patience = config.patience
        return patience is not None and self.num_since_best >= patience and num_done >= config.min_steps

    def metrics(self) -> dict[str, Any]:
        """Returns what the scores so far come to."""
        return {"val/probe/start_accuracy": self.start, "val/probe/best_accuracy": self.best}
