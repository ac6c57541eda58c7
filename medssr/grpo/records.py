"""Records of a training step: rollouts, their groups, and the step as callbacks see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from medssr.answers import Choice
from medssr.engines.types import Completion
from medssr.questions import Question
from medssr.rewards.types import RewardResult


@dataclass(frozen=True, slots=True)
class Rollout:
    """A completion with the answer read from it.

    Attributes:
        completion: What was sampled.
        choice: The answer.
        reward: The weighted sum of its rewards, NaN where it could not be scored.
        judgements: What each reward said of it, by name.
    """

    completion: Completion
    choice: Choice
    reward: float
    judgements: Mapping[str, RewardResult] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RolloutGroup:
    """All rollouts of one prompt."""

    question: Question
    prompt_ids: list[int]
    rollouts: list[Rollout]


@dataclass(frozen=True, slots=True)
class StepRollouts:
    """A training step as callbacks see it.

    Attributes:
        step: Its number.
        groups: All rollouts.
        rewards: `[num_groups][G]`, with length and KL taken off; NaN where a completion was not scored or left out.
        advantages: `[num_groups][G]`.
    """

    step: int
    groups: list[RolloutGroup]
    rewards: list[list[float]]
    advantages: list[list[float]]
