"""Group-relative advantages: the reward of each completion compared with its group."""

from __future__ import annotations

import torch
from torch import Tensor

from medssr.config import ScaleRewards


def group_advantages(
    rewards: Tensor, scale_rewards: ScaleRewards | str = ScaleRewards.group, epsilon: float = 1e-6
) -> Tensor:
    """Returns the advantage of each completion over its group, `[num_groups, G]`.

    A_i = (r_i - mean(r)) / (std(r) + epsilon), with the unbiased deviation over the group (Shao et al. 2024,
    arXiv 2402.03300, section 4.1.2), over the whole batch, or without division (Liu et al. 2025, arXiv 2503.20783).

    A reward that is not finite marks an unscored completion. It is left out of means and deviations, and its advantage
    is 0. All advantages of a group whose rewards are equal are 0 too (`is_nonzero_std`).

    Args:
        rewards: `[num_groups, G]`, NaN where a completion is unscored.
        scale_rewards: Which deviation the centred rewards are divided by.
        epsilon: Added to the deviation, so that the division stays finite where rewards are almost equal.

    Example:
        >>> group_advantages(torch.tensor([[1.0, 0.0, 0.0, 1.0]]), ScaleRewards.none).tolist()
        [[0.5, -0.5, -0.5, 0.5]]
        >>> group_advantages(torch.tensor([[1.0, 0.0, float("nan"), float("nan")]]), ScaleRewards.none).tolist()
        [[0.5, -0.5, 0.0, 0.0]]
    """
    scale = ScaleRewards(scale_rewards)
    scored = is_scored(rewards)
    finite = torch.where(scored, rewards, torch.nan)
    advantages = finite - finite.nanmean(dim=1, keepdim=True)
    if scale is ScaleRewards.group:
        advantages = advantages / (_group_deviations(rewards, scored) + epsilon)
    elif scale is ScaleRewards.batch and scored.sum() > 1:
        advantages = advantages / (rewards[scored].std() + epsilon)
    return torch.where(scored & is_nonzero_std(rewards).unsqueeze(1), advantages, 0.0)


def is_nonzero_std(rewards: Tensor) -> Tensor:
    """Returns whether the rewards of each group differ, `[num_groups]`.

    Uses max > min rather than std > 0, which is not robust to rounding. A single scored reward counts as no variance.

    Example:
        >>> is_nonzero_std(torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, float("nan")]])).tolist()
        [True, False, False]
    """
    scored = is_scored(rewards)
    highest = torch.where(scored, rewards, -torch.inf).amax(dim=1)
    lowest = torch.where(scored, rewards, torch.inf).amin(dim=1)
    return highest > lowest


def is_scored(rewards: Tensor) -> Tensor:
    """Returns whether each completion has a reward, `[num_groups, G]`.

    Example:
        >>> is_scored(torch.tensor([[0.0, float("nan"), float("inf")]])).tolist()
        [[True, False, False]]
    """
    return rewards.isfinite()


def _group_deviations(rewards: Tensor, scored: Tensor) -> Tensor:
    """Returns the unbiased deviation of each group's scored rewards, `[num_groups, 1]`; 0 for fewer than 2 of them."""
    deviations = rewards.new_zeros(len(rewards), 1)
    num_scored = scored.sum(dim=1)
    for size in sorted(set(num_scored.tolist())):
        if size > 1:
            groups = num_scored == size  # groups with the same number of scored rewards form a rectangle
            deviations[groups] = rewards[groups][scored[groups]].view(-1, size).std(dim=1, keepdim=True)
    return deviations
