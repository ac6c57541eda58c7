"""What a reward said of a completion, or why it said nothing that counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from numbers import Real
from typing import Any, cast

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
class Judgement:
    """What one reward said of one completion.

    Attributes:
        value: The unweighted reward; NaN where the reward cannot tell, or failed.
        fault: How it failed, if it did.
    """

    value: float
    fault: Fault | None = None


def judgement_of(returned: Any) -> Judgement:
    """Returns the judgement that a reward's return value stands for; None stands for "cannot tell", which is no fault.

    Example:
        >>> judgement_of(True)
        Judgement(value=1.0, fault=None)
        >>> judgement_of("1.0").fault.kind
        <FaultKind.wrong_type: 'wrong_type'>
    """
    if returned is None:
        return Judgement(math.nan)
    if not isinstance(returned, Real):
        return failed(FaultKind.wrong_type, f"returned {type(returned).__name__} {returned!r:.200}, expected a number.")
    number = cast(float, returned)  # what every real number has in common with one
    if not -_LARGEST_REWARD <= number <= _LARGEST_REWARD:  # true for NaN
        return failed(FaultKind.not_finite, f"returned {number!r:.200}, expected at most {_LARGEST_REWARD:g}.")
    return Judgement(float(number))


def failed(kind: FaultKind, detail: str) -> Judgement:
    """Returns the judgement of a reward that failed."""
    return Judgement(math.nan, Fault(kind, detail))
