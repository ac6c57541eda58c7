"""The reward interface, and the scoring of a step's completions with all rewards.

An exception in a reward is caught and recorded here; its completion is unscored.
"""

from __future__ import annotations

import logging
import math
import traceback
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from numbers import Real
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

from medssr.answers import Choice
from medssr.engines.types import Completion
from medssr.errors import InputError
from medssr.questions import Question

log = logging.getLogger(__name__)

# Training stops if a reward fails for every completion of this many steps in a row.
_MAX_FAILED_STEPS = 5
# Advantages are computed in float32; sums of squares of rewards up to this bound do not overflow.
_LARGEST_REWARD = 1e9


class Reward(Protocol):
    """Scores one completion.

    A true attribute `decides_signal` marks a reward for the label; only such rewards decide whether a group has signal.
    A missing attribute counts as false.
    """

    weight: float

    def __call__(self, question: Question, completion: Completion, choice: Choice) -> float | None:
        """Returns the unweighted reward of a completion with the extracted `choice`; None if it cannot score it."""
        ...


class ScoredInput(NamedTuple):
    """The input of a reward."""

    question: Question
    completion: Completion
    choice: Choice


@runtime_checkable
class BatchReward(Protocol):
    """A reward that scores all completions of a step in one call."""

    weight: float

    def score_batch(self, inputs: Sequence[ScoredInput]) -> list[RewardResult]:
        """Returns a result for each input; must not raise."""
        ...


class FaultKind(StrEnum):
    """The ways in which a reward can fail."""

    raised = "raised"
    timed_out = "timed_out"
    died = "died"
    skipped = "skipped"
    not_finite = "not_finite"
    wrong_type = "wrong_type"


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure of a reward: its kind, and a traceback or a description of the invalid return value."""

    kind: FaultKind
    detail: str


@dataclass(frozen=True, slots=True)
class RewardResult:
    """The result of one reward for one completion.

    Attributes:
        value: The unweighted reward; NaN if the reward returned None or failed.
        fault: The failure, if there was one.
    """

    value: float
    fault: Fault | None = None


def result_of(returned: Any) -> RewardResult:
    """Returns the result for a reward's return value; None means that it cannot score the input, and is not a fault.

    Example:
        >>> result_of(True)
        RewardResult(value=1.0, fault=None)
        >>> result_of("1.0").fault.kind
        <FaultKind.wrong_type: 'wrong_type'>
    """
    if returned is None:
        return RewardResult(math.nan)
    if not isinstance(returned, Real):
        return failed(FaultKind.wrong_type, f"returned {type(returned).__name__} {returned!r:.200}, expected a number.")
    number = cast(float, returned)  # a Real supports all that is used below
    if not -_LARGEST_REWARD <= number <= _LARGEST_REWARD:  # also true for NaN
        return failed(FaultKind.not_finite, f"returned {number!r:.200}, expected at most {_LARGEST_REWARD:g}.")
    return RewardResult(float(number))


def failed(kind: FaultKind, detail: str) -> RewardResult:
    """Returns the result of a reward that failed."""
    return RewardResult(math.nan, Fault(kind, detail))


def score_inputs(rewards: Mapping[str, Reward], inputs: Sequence[ScoredInput]) -> list[dict[str, RewardResult]]:
    """Returns the results of all rewards for each input, by name."""
    by_reward = {
        name: reward.score_batch(inputs)
        if isinstance(reward, BatchReward)
        else [score(reward, item) for item in inputs]
        for name, reward in rewards.items()
    }
    return [{name: results[index] for name, results in by_reward.items()} for index in range(len(inputs))]


def score(reward: Reward, scored_input: ScoredInput) -> RewardResult:
    """Returns the result of a reward for one input, called in this process; a fault if it raises."""
    try:
        return result_of(reward(*scored_input))
    except Exception:
        return failed(FaultKind.raised, traceback.format_exc())


class FaultWatch:
    """Logs the first fault of each kind, and stops a run in which a reward always fails."""

    def __init__(self) -> None:
        self._warned: set[tuple[str, FaultKind]] = set()
        self._failed_steps: defaultdict[str, set[int]] = defaultdict(set)  # consecutive steps, by reward

    def update(self, step: int, inputs: Sequence[ScoredInput], results: Sequence[Mapping[str, RewardResult]]) -> None:
        """Adds the results of a step.

        Args:
            step: The index of the step.
            inputs: The scored inputs.
            results: The results of all rewards for each input.

        Raises:
            InputError: When a reward failed for every completion of several steps in a row.
        """
        names = results[0] if results else {}
        for name in names:
            faults = [row[name].fault for row in results]
            for item, fault in zip(inputs, faults, strict=True):
                if fault is not None:
                    self._warn(name, step, item, fault)
            if all(faults):
                self._failed_steps[name].add(step)
            else:
                self._failed_steps[name].clear()
            if len(self._failed_steps[name]) == _MAX_FAILED_STEPS:
                last = faults[-1]
                assert last is not None
                raise InputError(
                    f"reward.{name}: failed for every completion of {_MAX_FAILED_STEPS} steps in a row ({last.kind}), "
                    f"so that nothing is learnt. The last fault:\n{last.detail}"
                )

    def _warn(self, name: str, step: int, item: ScoredInput, fault: Fault) -> None:
        if (name, fault.kind) not in self._warned:
            self._warned.add((name, fault.kind))
            log.warning(
                'reward.%s: %s at step %d, question "%s"; the completion counts as unscored. Others of this kind are '
                "counted in train/reward_faults/%s/%s and not printed.\n%s",
                name,
                fault.kind,
                step,
                item.question.id,
                name,
                fault.kind,
                fault.detail,
            )
