"""RLPR: the probability of the given answer after a completion's own reasoning (arXiv 2506.18254)."""

from __future__ import annotations

from medssr.rewards.groups import GroupInput, GroupScore


class AnswerProbability:
    """Rewards the policy's probability of the label in place of the answer that a completion states.

    r_i = clip(p_i - p_0, 0, 1), where p_i is the mean probability of the label's tokens after the reasoning, and p_0
    that without reasoning. A completion without a valid answer has no place for the label, and earns 0.

    Args:
        weight: Weight in the sum of rewards.
        is_debiased: Whether p_0 is subtracted.
    """

    decides_signal = True
    needs_answer_tokens = True
    needs_answer_probabilities = True

    def __init__(self, weight: float, is_debiased: bool) -> None:
        self.weight = weight
        self._is_debiased = is_debiased

    def score_group(self, group: GroupInput) -> GroupScore:
        """Returns the rewards; the label is the question's own."""
        measured = group.answer_probabilities
        assert measured is not None, (
            f"question {group.question.id} has no label, or its probabilities were not computed"
        )
        base = measured.without_reasoning if self._is_debiased else 0.0
        rewards = [0.0 if value is None else min(max(value - base, 0.0), 1.0) for value in measured.after_reasoning]
        return GroupScore(rewards, label=group.question.answer)
