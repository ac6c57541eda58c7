"""Watches the rewards of a training: logs the first fault of each kind, and stops where a reward scores nothing."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from medssr.errors import InputError
from medssr.rewards.scoring import Fault, FaultKind, Reward, RewardResult, location_of

log = logging.getLogger(__name__)

# Training stops if a reward fails for every completion of this many steps in a row, or scores none in the first ones.
_MAX_FAILED_STEPS = 5
_RESTART = (
    "Mend the class and start the same command again: its source is part of the fingerprint, so training starts afresh."
)
_REMEDIES = {
    FaultKind.timed_out: f"Give it more time with grpo.reward_timeout_s, or make it faster. {_RESTART}",
    FaultKind.died: f"Look for what ends its process: memory, os._exit, a crash in a library. {_RESTART}",
}
# Stands for all rewards together: a completion counts if each of them scored it.
_ALL = ""
_NONE_REMEDY = "None says that a completion cannot be scored; return a number, 0.0 where there is nothing to reward."


@dataclass(slots=True)
class _History:
    """What became of a reward so far.

    Attributes:
        has_scored: Whether it scored any completion.
        num_failed: The number of steps up to now in a row in which it failed for every completion.
        num_silent: The number of steps up to now in a row in which it scored no completion; None is no failure.
    """

    has_scored: bool = False
    num_failed: int = 0
    num_silent: int = 0

    def add(self, results: Sequence[RewardResult]) -> None:
        """Adds the results of a step."""
        is_silent = all(math.isnan(result.value) for result in results)
        self.has_scored = self.has_scored or not is_silent
        self.num_silent = self.num_silent + 1 if is_silent else 0
        self.num_failed = self.num_failed + 1 if all(result.fault is not None for result in results) else 0

    def is_useless(self, *, is_last_step: bool) -> bool:
        """Returns whether training with the reward is to end."""
        never_scored = not self.has_scored and (self.num_silent >= _MAX_FAILED_STEPS or is_last_step)
        return self.num_failed >= _MAX_FAILED_STEPS or never_scored


class FaultWatch:
    """Logs the first fault of each kind, and stops a training in which a reward scores nothing.

    Args:
        rewards: The rewards by name.
    """

    def __init__(self, rewards: Mapping[str, Reward]) -> None:
        self._locations = {name: location_of(reward) for name, reward in rewards.items()}
        self._histories = {name: _History() for name in [*rewards, _ALL]}
        self._warned: set[tuple[str, FaultKind]] = set()

    def update(
        self,
        step: int,
        question_ids: Sequence[str],
        results: Sequence[Mapping[str, RewardResult]],
        *,
        is_last_step: bool,
        logs: bool = True,
    ) -> None:
        """Adds the results of a step.

        Args:
            step: The index of the step.
            question_ids: The question of each completion of the step.
            results: The results of the rewards of each completion.
            is_last_step: Whether training ends with the step; a reward has to have scored a completion by then.
            logs: Whether to log faults; of several processes that see the same results, one does.

        Raises:
            InputError: When a reward failed for every completion of several steps in a row, or has scored none yet.
        """
        for name, history in self._histories.items():
            pairs = [
                (question_id, _joint(row) if name == _ALL else row[name])
                for question_id, row in zip(question_ids, results, strict=True)
                if name == _ALL or name in row  # questions of some sources do not have all rewards
            ]
            if not pairs:
                continue
            results_of_reward = [result for _, result in pairs]
            if logs:
                self._warn(name, step, [question_id for question_id, _ in pairs], results_of_reward)
            history.add(results_of_reward)
            if history.is_useless(is_last_step=is_last_step):
                raise InputError(self._message(name, history, results_of_reward))

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps, so that a resumed training counts on."""
        return {name: asdict(history) for name, history in self._histories.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up the counts of a checkpoint; a reward that is new since then starts at none."""
        self._histories |= {name: _History(**state[name]) for name in self._histories.keys() & state.keys()}

    def _message(self, name: str, history: _History, results: Sequence[RewardResult]) -> str:
        """Returns which class scored nothing, why, and what to do."""
        if name == _ALL:
            names = ", ".join(self._locations)
            return (
                f"reward: no completion of {history.num_silent} steps was scored by all of {names}, so that nothing is "
                f"learnt. Let each of them score what the others score. {_RESTART}"
            )
        fault = next((result.fault for result in results if result.fault is not None), None)
        if fault is None:
            cause, location, remedy = "it returned None", self._locations[name], f"{_NONE_REMEDY} {_RESTART}"
        else:
            cause, location = f"{fault.cause} [{fault.kind}]", fault.location or self._locations[name]
            remedy = _REMEDIES.get(fault.kind, _RESTART)
        has_failed = history.num_failed in (history.num_silent, _MAX_FAILED_STEPS)
        num_steps = history.num_failed if has_failed else history.num_silent
        steps = "1 step" if num_steps == 1 else f"{num_steps} steps in a row"
        scope = f"failed for every completion of {steps}" if has_failed else f"scored no completion of {steps}"
        return f"reward.{name}: {scope}, so that nothing is learnt: {cause} ({location}). {remedy}"

    def _warn(self, name: str, step: int, question_ids: Sequence[str], results: Sequence[RewardResult]) -> None:
        for question_id, result in zip(question_ids, results, strict=True):
            fault: Fault | None = result.fault
            if fault is None or (name, fault.kind) in self._warned:
                continue
            self._warned.add((name, fault.kind))
            log.warning(
                'reward.%s: %s at step %d, question "%s"; the completion counts as unscored. Others of this kind are '
                "counted in train/reward_faults/%s/%s and not printed.\n%s",
                name,
                fault.kind,
                step,
                question_id,
                name,
                fault.kind,
                fault.detail,
            )


def _joint(results: Mapping[str, RewardResult]) -> RewardResult:
    """Returns the result of all rewards for a completion: a number where each of them is one."""
    return RewardResult(sum(result.value for result in results.values()))
