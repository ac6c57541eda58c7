"""RESTRAIN: every answer of a group is its label in turn, weighted by how often it is given (arXiv 2510.02172)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from medssr.errors import require
from medssr.labeling.votes import Vote, majority_vote
from medssr.rewards.groups import GroupInput, GroupScore

# What `group_advantages` adds to a deviation.
_EPSILON = 1e-6


class SpreadVotes:
    """Rewards each answer by its own weight, and discourages all completions of a question without a clear majority.

    The loss is sum_a w_a L(a), where L(a) is GRPO's with answer a as label. With one ratio of 1 the advantages add up:
    A_i = sum_a w_a (1[a_i = a] - p_a) / s_a for the fraction p_a and the unbiased deviation s_a of 1[a_i = a]. That is
    r_i - mean(r) with r_i = w(a_i) / s(a_i), so that this reward needs `grpo.scale_rewards=none`.

    w_a is a Gaussian of p_a, normalised over the answers of the group. Where the most frequent answer has too few
    votes, all rewards are 0 and all advantages -penalty.

    Args:
        weight: Weight in the sum of rewards.
        center: The fraction that weighs most.
        width: The deviation of the Gaussian, above 0.
        min_share: The least fraction of the most frequent answer, 0 to 1.
        penalty: Subtracted from the advantages of a question below it.
        uses_agreement: Whether a question has the agreement of its offline vote (medssr-pseudo-label) as its weight.

    Raises:
        InputError: When a number is out of range.
    """

    decides_signal = True
    is_label_free = True
    needs_unscaled = True

    def __init__(
        self, weight: float, center: float, width: float, min_share: float, penalty: float, uses_agreement: bool
    ) -> None:
        require(width > 0, "SpreadVotes.width", f"{width}; above 0.")
        require(0 <= min_share <= 1, "SpreadVotes.min_share", f"{min_share}; 0 to 1.")
        require(penalty >= 0, "SpreadVotes.penalty", f"{penalty}; at least 0.")
        self.weight = weight
        self._center, self._width, self._min_share, self._penalty = center, width, min_share, penalty
        self._uses_agreement = uses_agreement

    def score_group(self, group: GroupInput) -> GroupScore:
        """Returns the rewards, the penalty and the weight of a question; there is no one label."""
        letters = group.letters
        vote = majority_vote(letters)
        weight = self._question_weight(group)
        if (vote.agreement or 0.0) < self._min_share:
            return GroupScore([0.0] * len(letters), weight, advantage_shifts=[-self._penalty] * len(letters))
        by_letter = spread_rewards(vote, self._center, self._width)
        return GroupScore([0.0 if letter is None else by_letter[letter] for letter in letters], weight)

    def _question_weight(self, group: GroupInput) -> float:
        if not self._uses_agreement:
            return 1.0
        agreement = group.question.provenance.get("agreement")
        if agreement is None:
            raise ValueError(
                f"question {group.question.id!r} has no agreement of an offline vote; train on the questions.jsonl of "
                "medssr-pseudo-label, or set uses_agreement=false."
            )
        return float(agreement)


def spread_weights(shares: Mapping[str, float], center: float, width: float) -> dict[str, float]:
    """Returns the weight of each answer, exp(-(p - center)^2 / (2 width^2)), normalised over the answers.

    Example:
        >>> weights = spread_weights({"A": 0.75, "B": 0.25}, center=1.0, width=0.5)  # exp(-1/8) and exp(-9/8)
        >>> {letter: round(weight, 3) for letter, weight in weights.items()}
        {'A': 0.731, 'B': 0.269}
    """
    raw = {letter: math.exp(-((share - center) ** 2) / (2 * width**2)) for letter, share in shares.items()}
    return {letter: value / sum(raw.values()) for letter, value in raw.items()}


def spread_rewards(vote: Vote, center: float, width: float) -> dict[str, float]:
    """Returns the reward of each answer, w / s; 0 where all completions give it, so that s is 0.

    Args:
        vote: The votes of the group.
        center: The fraction that weighs most.
        width: The deviation of the Gaussian.
    """
    total = vote.num_votes
    shares = {letter: count / total for letter, count in vote.counts.items()}
    weights = spread_weights(shares, center, width)
    deviations = {letter: math.sqrt(share * (1 - share) * total / (total - 1)) for letter, share in shares.items()}
    return {
        letter: weight / (deviations[letter] + _EPSILON) if shares[letter] < 1 else 0.0
        for letter, weight in weights.items()
    }
