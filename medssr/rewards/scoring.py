"""What rewards are, and how all of them score the completions of a step.

An exception in a reward is caught and recorded here: it costs the completion its score and nothing else.
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

# A reward that fails for every completion of as many steps in a row ends the training.
_MAX_FAILED_STEPS = 5
# Float32, in which advantages are made, squares numbers up to here without overflow, group after group.
_LARGEST_REWARD = 1e9


class Reward(Protocol):
    """Scores one completion.

    An attribute `decides_signal` that is true says that the reward is one for the label: whether a group has signal is
    decided on those alone. Without the attribute it is false.
    """

    weight: float

    def __call__(self, question: Question, completion: Completion, choice: Choice) -> float | None:
        """Returns the unweighted reward of a completion, from which `choice` was read; None where it cannot tell."""
        ...


class ScoredInput(NamedTuple):
    """What a reward scores."""

    question: Question
    completion: Completion
    choice: Choice


@runtime_checkable
class BatchReward(Protocol):
    """A reward that scores all completions of a step in one call."""

    weight: float

    def score_batch(self, inputs: Sequence[ScoredInput]) -> list[RewardResult]:
        """Returns a result for each input; raises nothing."""
        ...


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
    """What one reward returned for one completion.

    Attributes:
        value: The unweighted reward; NaN where the reward cannot tell, or failed.
        fault: How it failed, if it did.
    """

    value: float
    fault: Fault | None = None


def result_of(returned: Any) -> RewardResult:
    """Returns the result for a reward's return value; None stands for "cannot tell", which is no fault.

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
    number = cast(float, returned)  # what every real number has in common with one
    if not -_LARGEST_REWARD <= number <= _LARGEST_REWARD:  # true for NaN
        return failed(FaultKind.not_finite, f"returned {number!r:.200}, expected at most {_LARGEST_REWARD:g}.")
    return RewardResult(float(number))


def failed(kind: FaultKind, detail: str) -> RewardResult:
    """Returns the result of a reward that failed."""
    return RewardResult(math.nan, Fault(kind, detail))


def score_inputs(rewards: Mapping[str, Reward], inputs: Sequence[ScoredInput]) -> list[dict[str, RewardResult]]:
    """Returns for each input what each reward returned for it, by name."""
    by_reward = {
        name: reward.score_batch(inputs)
        if isinstance(reward, BatchReward)
        else [score(reward, item) for item in inputs]
        for name, reward in rewards.items()
    }
    return [{name: results[index] for name, results in by_reward.items()} for index in range(len(inputs))]


def score(reward: Reward, scored_input: ScoredInput) -> RewardResult:
    """Returns what a reward returns for one input, in this process; a failure where it raises."""
    try:
        return result_of(reward(*scored_input))
    except Exception:
        return failed(FaultKind.raised, traceback.format_exc())


class FaultWatch:
    """Warns of the first fault of each kind, and ends a run in which a reward fails step after step."""

    def __init__(self) -> None:
        self._warned: set[tuple[str, FaultKind]] = set()
        self._failed_steps: defaultdict[str, set[int]] = defaultdict(set)  # in a row

    def update(self, step: int, inputs: Sequence[ScoredInput], results: Sequence[Mapping[str, RewardResult]]) -> None:
        """Adds the results of a step.

        Args:
            step: Its number.
            inputs: What was scored.
            results: What each reward returned for each input.

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
