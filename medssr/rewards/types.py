"""What a reward is."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from medssr.answers import Choice
from medssr.questions import Question
from medssr.rollout.types import Completion


class Reward(Protocol):
    """Judges one completion."""

    weight: float

    def __call__(self, question: Question, completion: Completion, choice: Choice) -> float | None:
        """Returns the unweighted reward of a completion, from which `choice` was read; None where it cannot tell."""
        ...


class Case(NamedTuple):
    """What a reward judges."""

    question: Question
    completion: Completion
    choice: Choice
