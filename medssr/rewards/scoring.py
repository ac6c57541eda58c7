"""Asks all rewards about all completions of a step; nothing that a reward does gets any further than here."""

from __future__ import annotations

import logging
import traceback
from collections import defaultdict
from collections.abc import Mapping, Sequence

from medssr.errors import InputError
from medssr.rewards.isolation import IsolatedReward
from medssr.rewards.types import Fault, FaultKind, Reward, RewardResult, ScoredInput, failed, judgement_of

log = logging.getLogger(__name__)

_MAX_FAILED_STEPS = 5


def judge(rewards: Mapping[str, Reward], cases: Sequence[ScoredInput]) -> list[dict[str, RewardResult]]:
    """Returns for each case what each reward said of it, by name."""
    by_reward = {name: _judge_with(reward, cases) for name, reward in rewards.items()}
    return [{name: row[place] for name, row in by_reward.items()} for place in range(len(cases))]


def total_reward(rewards: Mapping[str, Reward], judgements: Mapping[str, RewardResult]) -> float:
    """Returns the weighted sum of the rewards of one completion; NaN, which is not 0, where one of them is unknown."""
    return sum(reward.weight * judgements[name].value for name, reward in rewards.items())


def _judge_with(reward: Reward, cases: Sequence[ScoredInput]) -> list[RewardResult]:
    if isinstance(reward, IsolatedReward):
        return reward.judge(cases)
    return [ask(reward, case) for case in cases]


def ask(reward: Reward, case: ScoredInput) -> RewardResult:
    """Returns what a reward says of one case, also where it raises; here, in this process."""
    try:
        return judgement_of(reward(*case))
    except Exception:
        return failed(FaultKind.raised, traceback.format_exc())


class FaultWatch:
    """Tells of the first fault of each kind, and ends a run in which a reward fails step after step."""

    def __init__(self) -> None:
        self._told: set[tuple[str, FaultKind]] = set()
        self._failed_steps: defaultdict[str, set[int]] = defaultdict(set)  # in a row

    def look(self, step: int, cases: Sequence[ScoredInput], judgements: Sequence[Mapping[str, RewardResult]]) -> None:
        """Looks at what the rewards said in a step.

        Args:
            step: Its number.
            cases: What was judged.
            judgements: What each reward said of each case.

        Raises:
            InputError: When a reward failed for every completion of several steps in a row.
        """
        names = judgements[0] if judgements else {}
        for name in names:
            faults = [row[name].fault for row in judgements]
            for case, fault in zip(cases, faults, strict=True):
                if fault is not None:
                    self._tell(name, step, case, fault)
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

    def _tell(self, name: str, step: int, case: ScoredInput, fault: Fault) -> None:
        if (name, fault.kind) not in self._told:
            self._told.add((name, fault.kind))
            log.warning(
                'reward.%s: %s at step %d, question "%s"; the completion counts as unscored. Others of this kind are '
                "counted in train/reward_faults/%s/%s and not printed.\n%s",
                name,
                fault.kind,
                step,
                case.question.id,
                name,
                fault.kind,
                fault.detail,
            )
