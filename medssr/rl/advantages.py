"""Group-relative advantages."""

from __future__ import annotations

from torch import Tensor

from medssr.config import ScaleRewards


def group_advantages(
    rewards: Tensor, scale_rewards: ScaleRewards = ScaleRewards.group, epsilon: float = 1e-6
) -> Tensor:
    """Returns how much better each completion is than its group, `[num_groups, G]`.

    A_i = (r_i - mean(r)) / (std(r) + epsilon), with the unbiased deviation over the group (Shao et al. 2024,
    arXiv 2402.03300, section 4.1.2), over the whole batch, or without division (Liu et al. 2025, arXiv 2503.20783).

    Args:
        rewards: `[num_groups, G]`.
        scale_rewards: What the centred rewards are divided by.
        epsilon: Keeps the division finite where all rewards are equal.

    Example:
        >>> group_advantages(torch.tensor([[1.0, 0.0, 0.0, 1.0]]), ScaleRewards.none).tolist()
        [[0.5, -0.5, -0.5, 0.5]]
    """
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    if scale_rewards is ScaleRewards.none:
        return centred
    deviation = rewards.std(dim=1, keepdim=True) if scale_rewards is ScaleRewards.group else rewards.std()
    return centred / (deviation + epsilon)


def has_signal(rewards: Tensor) -> Tensor:
    """Returns for each group whether its rewards differ, `[num_groups]`; in other groups every advantage is 0.

    Training leaves those groups out, and with them their share of the KL term's gradient.

    Compares the extremes and not a deviation with 0, which rounding can miss.

    Example:
        >>> has_signal(torch.tensor([[1.0, 0.0], [1.0, 1.0]])).tolist()
        [True, False]
    """
    return rewards.amax(dim=1) != rewards.amin(dim=1)
