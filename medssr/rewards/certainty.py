"""Rewards by the certainty of the policy's own distributions while it writes a completion."""

from __future__ import annotations

from statistics import fmean

from medssr.rewards.groups import GroupInput, GroupScore


class NegativeEntropy:
    """Rewards low entropy: minus the mean entropy of a completion's tokens, in nats (RENT, arXiv 2505.22660).

    r_i = -1/T sum_t H(pi(. | y_<t)), at the temperature of sampling.

    Args:
        weight: Weight in the sum of rewards.
        invalid_reward: The reward of a completion without a valid answer.
    """

    decides_signal = True
    is_label_free = True
    needs_statistics = True

    def __init__(self, weight: float, invalid_reward: float) -> None:
        self.weight = weight
        self._invalid_reward = invalid_reward

    def score_group(self, group: GroupInput) -> GroupScore:
        """Returns minus the mean entropy of each completion."""
        assert group.statistics is not None, "the trainer computes the statistics that a reward needs"
        rewards = [
            self._invalid_reward if letter is None else -fmean(statistics.entropies)
            for letter, statistics in zip(group.letters, group.statistics, strict=True)
        ]
        return GroupScore(rewards)


class SelfCertainty:
    """Rewards distributions far from the uniform one: the mean of KL(U || pi) over tokens (Intuitor, arXiv 2505.19590).

    u_i = -1/T sum_t 1/V sum_v log pi(v | y_<t), which is that KL plus the constant log V; advantages do not depend on
    it. It is computed by the policy that sampled, since a frozen scorer is exploited.

    Args:
        weight: Weight in the sum of rewards.
    """

    decides_signal = True
    is_label_free = True
    needs_statistics = True

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def score_group(self, group: GroupInput) -> GroupScore:
        """Returns the self-certainty of each completion, whether or not it has an answer."""
        assert group.statistics is not None, "the trainer computes the statistics that a reward needs"
        rewards = [-fmean(statistics.mean_logps) for statistics in group.statistics]
        return GroupScore(rewards)
