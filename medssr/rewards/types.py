"""What a reward is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from medssr.answers import Choice
from medssr.questions import Question
from medssr.rollout.types import Completion


class Reward(Protocol):
    """Judges one completion."""

    weight: float

    def __call__(self, question: Question, completion: Completion, choice: Choice) -> float:
        """Returns the unweighted reward of a completion, from which `choice` was read."""
        ...


def total_reward(rewards: Mapping[str, Reward], question: Question, completion: Completion, choice: Choice) -> float:
    """Returns the weighted sum of all rewards of a completion."""
    return sum(reward.weight * reward(question, completion, choice) for reward in rewards.values())
