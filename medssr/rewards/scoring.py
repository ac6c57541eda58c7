"""The reward interface, and the scoring of a step's completions with all rewards.

An exception in a reward is caught and recorded here; its completion is unscored. `faults` stops a training in which a
reward scores nothing.
"""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from numbers import Real
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

from medssr.answers import Choice
from medssr.engines.types import Completion
from medssr.questions import Question

# Longer messages and tracebacks of a user's exception are cut.
_MAX_CAUSE_CHARS = 300
_MAX_TRACE_CHARS = 20_000
# Advantages are computed in float32; sums of squares of rewards up to this bound do not overflow.
_LARGEST_REWARD = 1e9


class Reward(Protocol):
    """Scores one completion. Its attributes, where it has them, say what kind of reward it is (`RewardTraits`)."""

    weight: float

    def __call__(self, question: Question, completion: Completion, choice: Choice) -> float | None:
        """Returns the unweighted reward of a completion with the extracted `choice`; None if it cannot score it."""
        ...


@dataclass(frozen=True, slots=True)
class RewardTraits:
    """What kind of reward a class is: its attributes of these names, each false if it is missing.

    Attributes:
        decides_signal: It is a reward for the label; only such rewards decide whether a group has signal.
        is_label_free: It does not read the label, so that questions need none.
        needs_statistics: It reads the statistics of the policy's distribution at each token.
        needs_answer_tokens: It reads which tokens state the answer.
        needs_peers: It reads the answers of another view of the question, or of a teacher.
        needs_answer_probabilities: It reads how probable the label is after each completion.
        needs_unscaled: It divides by deviations itself, so that rewards must not be divided by that of the group.
        sees_groups: It scores groups (`groups.GroupReward`), and not one completion at a time.
    """

    decides_signal: bool = False
    is_label_free: bool = False
    needs_statistics: bool = False
    needs_answer_tokens: bool = False
    needs_peers: bool = False
    needs_answer_probabilities: bool = False
    needs_unscaled: bool = False
    sees_groups: bool = False


def traits_of(reward: Any) -> RewardTraits:
    """Returns the traits of a reward, or of its class; a reward of another process has them in `traits`."""
    traits = getattr(reward, "traits", None)
    if isinstance(traits, RewardTraits):
        return traits
    names = [field.name for field in fields(RewardTraits) if field.name != "sees_groups"]
    flags = {name: bool(getattr(reward, name, False)) for name in names}
    return RewardTraits(**flags, sees_groups=callable(getattr(reward, "score_group", None)))


class ScoredInput(NamedTuple):
    """The input of a reward."""

    question: Question
    completion: Completion
    choice: Choice


@runtime_checkable
class BackgroundReward(Protocol):
    """A reward that scores in other processes, while further completions of a step are sampled.

    Its `location` is that of the class that does so.
    """

    weight: float
    location: str

    def begin(self) -> None:
        """Begins a step."""
        ...

    def add(self, index: int, scored_input: Any) -> None:
        """Gives it an input of the step, in any order of their indices; returns at once, and must not raise."""
        ...

    def results(self) -> dict[int, Any]:
        """Waits for the result of each input, and returns them by index."""
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
    """A failure of a reward.

    Attributes:
        kind: The way in which it failed.
        cause: What was raised or returned, in one line.
        location: The class with the file and the line of the fault; empty where they are unknown.
        trace: A traceback, for the log; empty where there is none.
    """

    kind: FaultKind
    cause: str
    location: str = ""
    trace: str = ""

    @property
    def detail(self) -> str:
        """All that is known, for the log."""
        return "\n".join(part for part in (self.cause, self.location, self.trace) if part)


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
        return failed(FaultKind.wrong_type, f"returned {type(returned).__name__} {returned!r:.200}, expected a number")
    number = cast(float, returned)  # a Real supports all that is used below
    if not -_LARGEST_REWARD <= number <= _LARGEST_REWARD:  # also true for NaN
        return failed(FaultKind.not_finite, f"returned {number!r:.200}, expected at most {_LARGEST_REWARD:g}")
    return RewardResult(float(number))


def failed(kind: FaultKind, cause: str, location: str = "", trace: str = "") -> RewardResult:
    """Returns the result of a reward that failed; the arguments are those of `Fault`."""
    return RewardResult(math.nan, Fault(kind, cause, location, trace))


def raised(error: BaseException, reward: Any) -> RewardResult:
    """Returns the result of a reward that raised an exception.

    The location is the innermost line of the reward's own file, since that is what its author can mend.
    """
    cause = traceback.format_exception_only(error)[-1].strip()
    own_file = _file_of(type(reward))
    frames = traceback.extract_tb(error.__traceback__)
    own_frames = [frame for frame in frames if frame.filename == own_file] or list(frames)
    location = f"{_class_name(reward)}, {own_frames[-1].filename}, line {own_frames[-1].lineno}" if own_frames else ""
    trace = "".join(traceback.format_exception(error))
    return failed(FaultKind.raised, cause[:_MAX_CAUSE_CHARS], location, trace[-_MAX_TRACE_CHARS:])


def location_of(reward: Any) -> str:
    """Returns the class of a reward with the file and the line of its call, as far as they can be found."""
    if isinstance(reward, BackgroundReward):
        return reward.location
    name, file = _class_name(reward), _file_of(type(reward))
    method = type(reward).score_group if traits_of(reward).sees_groups else type(reward).__call__
    code = getattr(method, "__code__", None)
    if code is not None:
        return f"{name}, {code.co_filename}, line {code.co_firstlineno}"
    return name if file is None else f"{name}, {file}"


def _class_name(reward: Any) -> str:
    return f"{type(reward).__module__}.{type(reward).__qualname__}"


def _file_of(kind: type) -> str | None:
    return getattr(sys.modules.get(kind.__module__), "__file__", None)


class StepScoring:
    """Scores the completions of a step as they arrive, in any order.

    A reward in this process is called at once; one in other processes begins at once, and its results are waited for
    in the end. The results do not depend on the order of arrival, if each reward depends on its input alone.

    Args:
        rewards: Rewards of one completion, by name.
        has_reward: Returns whether the completions of a question have the reward of a name.
    """

    def __init__(
        self, rewards: Mapping[str, Reward], has_reward: Callable[[Question, str], bool] = lambda question, name: True
    ) -> None:
        self._rewards = rewards
        self._has_reward = has_reward
        self._results: dict[int, dict[str, RewardResult]] = {}
        self._background = {name: reward for name, reward in rewards.items() if isinstance(reward, BackgroundReward)}
        for reward in self._background.values():
            reward.begin()

    def add(self, index: int, item: ScoredInput) -> None:
        """Scores a completion, or begins to; the index is its place in the step."""
        results = self._results[index] = {}
        for name, reward in self._rewards.items():
            if not self._has_reward(item.question, name):
                continue
            if name in self._background:
                self._background[name].add(index, item)
            else:
                results[name] = score(reward, item)

    def results(self) -> list[dict[str, RewardResult]]:
        """Returns the results of the rewards of each completion, by name, in the order of their indices."""
        for name, reward in self._background.items():
            for index, result in reward.results().items():
                self._results[index][name] = result
        in_order = (self._results[index] for index in sorted(self._results))
        return [{name: results[name] for name in self._rewards if name in results} for results in in_order]


def score(reward: Reward, scored_input: ScoredInput) -> RewardResult:
    """Returns the result of a reward for one input, called in this process; a fault with its location if it fails."""
    try:
        result = result_of(reward(*scored_input))
    except Exception as error:
        return raised(error, reward)
    return with_location(result, reward)


def with_location(result: RewardResult, reward: Any) -> RewardResult:
    """Returns a result whose fault, if there is one, names the class of the reward and where it is."""
    return (
        result
        if result.fault is None
        else RewardResult(result.value, replace(result.fault, location=location_of(reward)))
    )
