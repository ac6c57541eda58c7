"""What a reward is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

from medssr.answers import Choice
from medssr.questions import Question
from medssr.rollout.types import Completion


class Reward(Protocol):
    """Judges one completion."""

    weight: float

    def __call__(self, question: Question, completion: Completion, choice: Choice) -> float | None:
        """Returns the unweighted reward of a completion, from which `choice` was read; None where it cannot tell."""
        ...


def total_reward(rewards: Mapping[str, Reward], question: Question, completion: Completion, choice: Choice) -> float:
    """Returns the weighted sum of all rewards of a completion; NaN, which is not 0, where one of them cannot tell."""
    parts = [(reward.weight, reward(question, completion, choice)) for reward in rewards.values()]
    return sum(math.nan if value is None else weight * value for weight, value in parts)
