"""What a reward is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from numbers import Real
from typing import Any, NamedTuple, Protocol, cast

from medssr.answers import Choice
from medssr.engines.types import Completion
from medssr.questions import Question


class Reward(Protocol):
    """Judges one completion."""

    weight: float

    def __call__(self, question: Question, completion: Completion, choice: Choice) -> float | None:
        """Returns the unweighted reward of a completion, from which `choice` was read; None where it cannot tell."""
        ...


class ScoredInput(NamedTuple):
    """What a reward judges."""

    question: Question
    completion: Completion
    choice: Choice


# Float32, in which advantages are made, squares numbers up to here without overflow, group after group.
_LARGEST_REWARD = 1e9


class FaultKind(StrEnum):
    """How a reward can fail."""

    raised = "raised"
    timed_out = "timed_out"
    died = "died"
    skipped = "skipped"
    not_finite = "not_finite"
    wrong_type = "wrong_type"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a completion has no reward: the kind, and a traceback or what was found instead of a number."""

    kind: FaultKind
    detail: str


@dataclass(frozen=True, slots=True)
class RewardResult:
    """What one reward said of one completion.

    Attributes:
        value: The unweighted reward; NaN where the reward cannot tell, or failed.
        fault: How it failed, if it did.
    """

    value: float
    fault: Fault | None = None


def judgement_of(returned: Any) -> RewardResult:
    """Returns the judgement that a reward's return value stands for; None stands for "cannot tell", which is no fault.

    Example:
        >>> judgement_of(True)
        RewardResult(value=1.0, fault=None)
        >>> judgement_of("1.0").fault.kind
        <FaultKind.wrong_type: 'wrong_type'>
    """
    if returned is None:
        return RewardResult(math.nan)
    if not isinstance(returned, Real):
        return failed(FaultKind.wrong_type, f"returned {type(returned).__name__} {returned!r:.200}, expected a number.")
    number = cast(float, returned)  # what every real number has in common with one
    if not -_LARGEST_REWARD <= number <= _LARGEST_REWARD:  # true for NaN
        return failed(FaultKind.not_finite, f"returned {number!r:.200}, expected at most {_LARGEST_REWARD:g}.")
    return RewardResult(float(number))


def failed(kind: FaultKind, detail: str) -> RewardResult:
    """Returns the judgement of a reward that failed."""
    return RewardResult(math.nan, Fault(kind, detail))
