"""TTRL-Guard: majority labels of questions whose majority changes, or never did, weigh less (arXiv 2605.19444)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from medssr.errors import require
from medssr.rewards.groups import GroupInput, GroupScore
from medssr.rewards.history import Visit, visit_of
from medssr.rewards.votes import MajorityVote, answer_shares


@dataclass(frozen=True, slots=True)
class GuardRule:
    """The weight of a question by its visits.

    Attributes:
        flip_penalty: Taken off the weight of a question whose majority flips.
        confident_flip_factor: Times the weight if the new majority has more than `confident_share` of the votes.
        stable_factor: Times the weight of a stable question: one that never flipped, was visited `min_stable_visits`
            times and has more than `confident_share` of the votes for its majority on average.
        min_stable_visits: The least number of visits of a stable question, this one included.
        max_stable_visits: The number of visits at which a question's weight is reduced for being stable.
        confident_share: A fraction of the votes.
        min_weight: The least weight.
    """

    flip_penalty: float
    confident_flip_factor: float
    stable_factor: float
    min_stable_visits: int
    max_stable_visits: int
    confident_share: float
    min_weight: float

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for name in ("flip_penalty", "confident_flip_factor", "stable_factor", "confident_share", "min_weight"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"GuardedVote.{name}", f"{value}; 0 to 1.")
        for name in ("min_stable_visits", "max_stable_visits"):
            number = getattr(self, name)
            require(isinstance(number, int) and number >= 1, f"GuardedVote.{name}", f"{number}; at least 1.")


class GuardedVote:
    """The reward of `MajorityVote`, with a weight of the question and a bonus for minorities by its earlier visits.

    The majority flips where it is another answer than at the visit before; a tie flips nothing. `GuardRule` has the
    weight. While the majority flipped at this visit or at the one before, a completion with another answer that has at
    least `min_minority_share` of the votes has `minority_bonus` times that fraction added to its advantage.

    Args:
        weight: Weight in the sum of rewards.
        num_trained: The first so many completions are trained; the others only vote. None for all.
        min_minority_share: The least fraction of a minority with a bonus.
        minority_bonus: The bonus, times the fraction; 0 for none.
        rule: The settings of `GuardRule`.

    Raises:
        InputError: When a number is out of range.
    """

    decides_signal = True
    is_label_free = True

    def __init__(
        self, weight: float, num_trained: int | None, min_minority_share: float, minority_bonus: float, **rule: float
    ) -> None:
        require(0 <= min_minority_share <= 1, "GuardedVote.min_minority_share", f"{min_minority_share}; 0 to 1.")
        require(minority_bonus >= 0, "GuardedVote.minority_bonus", f"{minority_bonus}; at least 0.")
        self.weight = weight
        self._vote = MajorityVote(weight, num_trained)
        self._min_minority_share, self._minority_bonus = min_minority_share, minority_bonus
        self._rule = GuardRule(**rule)  # type: ignore[arg-type]

    def score_group(self, group: GroupInput) -> GroupScore:
        """Returns the rewards of the majority, the weight of the question and the shifts of minorities."""
        score = self._vote.score_group(group)
        visits = [*group.history, visit_of(0, group.question, group.letters, score.label)]
        shifts = None
        if any(flips(visits)[-2:]):
            shifts = [
                self._minority_bonus * share
                if score.label not in (None, letter) and letter is not None and share >= self._min_minority_share
                else 0.0
                for letter, share in zip(group.letters, answer_shares(group.letters), strict=True)
            ]
        return GroupScore(score.rewards, guarded_weight(visits, self._rule), None, shifts, score.label)


def flips(visits: Sequence[Visit]) -> list[bool]:
    """Returns for each visit but the first whether its majority is another answer than that of the visit before.

    Example:
        >>> votes = [Visit(step, {}, 4, majority, None) for step, majority in enumerate(["a", "b", None, "b"])]
        >>> flips(votes)
        [True, False, False]
    """
    return [
        before.majority is not None and after.majority is not None and before.majority != after.majority
        for before, after in pairwise(visits)
    ]


def guarded_weight(visits: Sequence[Visit], rule: GuardRule) -> float:
    """Returns the weight of a question at its last visit.

    w = 1 - flip_penalty F, times confident_flip_factor if F and the share of the majority is above confident_share,
    times stable_factor if the question is stable, and at least min_weight; F is 1 where the majority flips.

    Args:
        visits: All visits, this one last.
        rule: The settings.

    Example:
        >>> rule = GuardRule(0.5, 0.7, 0.85, 5, 5, 0.6, 0.1)
        >>> visits = [Visit(0, {"a": 3, "b": 1}, 4, "a", None), Visit(1, {"a": 1, "b": 3}, 4, "b", None)]
        >>> guarded_weight(visits[:1], rule), guarded_weight(visits, rule)  # (1 - 0.5) 0.7
        (1.0, 0.35)
    """
    flipped = flips(visits)
    has_flipped_now = bool(flipped) and flipped[-1]
    weight = 1 - rule.flip_penalty * has_flipped_now
    if has_flipped_now and visits[-1].majority_share > rule.confident_share:
        weight *= rule.confident_flip_factor
    is_early = len(visits) < rule.min_stable_visits + rule.max_stable_visits
    is_stable = len(visits) >= rule.min_stable_visits and not any(flipped)
    if is_stable and is_early and fmean(visit.majority_share for visit in visits) > rule.confident_share:
        weight *= rule.stable_factor
    return max(weight, rule.min_weight)
