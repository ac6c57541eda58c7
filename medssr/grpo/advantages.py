"""Group-relative advantages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medssr.config import ScaleRewards


def group_advantages(
    rewards: Tensor, scale_rewards: ScaleRewards | str = ScaleRewards.group, epsilon: float = 1e-6
) -> Tensor:
    """Returns how much better each completion is than its group, `[num_groups, G]`.

    A_i = (r_i - mean(r)) / (std(r) + epsilon), with the unbiased deviation over the group (Shao et al. 2024,
    arXiv 2402.03300, section 4.1.2), over the whole batch, or without division (Liu et al. 2025, arXiv 2503.20783).

    A reward that is not finite belongs to a completion that could not be scored. It counts in no mean and no deviation,
    and its advantage is 0; so is every advantage of a group without signal (`has_signal`).

    Args:
        rewards: `[num_groups, G]`, NaN where a completion has none.
        scale_rewards: What the centred rewards are divided by.
        epsilon: Keeps the division finite where rewards are almost equal.

    Example:
        >>> group_advantages(torch.tensor([[1.0, 0.0, 0.0, 1.0]]), ScaleRewards.none).tolist()
        [[0.5, -0.5, -0.5, 0.5]]
        >>> group_advantages(torch.tensor([[1.0, 0.0, float("nan"), float("nan")]]), ScaleRewards.none).tolist()
        [[0.5, -0.5, 0.0, 0.0]]
    """
    scale = ScaleRewards(scale_rewards)
    scored = is_scored(rewards)
    known = torch.where(scored, rewards, torch.nan)
    advantages = known - known.nanmean(dim=1, keepdim=True)
    if scale is ScaleRewards.group:
        advantages = advantages / (_group_deviations(rewards, scored) + epsilon)
    elif scale is ScaleRewards.batch and scored.sum() > 1:
        advantages = advantages / (rewards[scored].std() + epsilon)
    return torch.where(scored & has_signal(rewards).unsqueeze(1), advantages, 0.0)


def has_signal(rewards: Tensor) -> Tensor:
    """Returns for each group whether its known rewards differ, `[num_groups]`; in other groups every advantage is 0.

    Training leaves those groups out, and with them their share of the KL term's gradient.

    Compares the extremes and not a deviation with 0, which rounding can miss. One known reward differs from none.

    Example:
        >>> has_signal(torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, float("nan")]])).tolist()
        [True, False, False]
    """
    scored = is_scored(rewards)
    highest = torch.where(scored, rewards, -torch.inf).amax(dim=1)
    lowest = torch.where(scored, rewards, torch.inf).amin(dim=1)
    return highest > lowest


def is_scored(rewards: Tensor) -> Tensor:
    """Returns for each completion whether it has a reward, `[num_groups, G]`.

    Example:
        >>> is_scored(torch.tensor([[0.0, float("nan"), float("inf")]])).tolist()
        [[True, False, False]]
    """
    return rewards.isfinite()


def _group_deviations(rewards: Tensor, scored: Tensor) -> Tensor:
    """Returns the unbiased deviation of each group's known rewards, `[num_groups, 1]`; 0 where it has fewer than 2."""
    deviations = rewards.new_zeros(len(rewards), 1)
    num_scored = scored.sum(dim=1)
    for size in sorted(set(num_scored.tolist())):
        if size > 1:
            groups = num_scored == size  # those with as many known rewards form a rectangle
            deviations[groups] = rewards[groups][scored[groups]].view(-1, size).std(dim=1, keepdim=True)
    return deviations


def overlong_penalty(lengths: Tensor, max_new_tokens: int, buffer: int) -> Tensor:
    """Returns what a completion's length takes off its reward, 0 to 1, of the shape of `lengths`.

    Nothing up to max_new_tokens - buffer tokens, from there in a line up to 1 at max_new_tokens: a cut completion was
    told beforehand (soft over-long punishment, DAPO, arXiv 2503.14476, with the sign turned).

    Args:
        lengths: Completion tokens.
        max_new_tokens: Where completions are cut.
        buffer: Tokens over which the penalty grows; 0 for no penalty.

    Example:
        >>> overlong_penalty(torch.tensor([10, 80, 90, 100]), max_new_tokens=100, buffer=20).tolist()
        [0.0, 0.0, 0.5, 1.0]
    """
    if buffer == 0:
        return torch.zeros_like(lengths, dtype=torch.float32)
    return ((lengths - (max_new_tokens - buffer)) / buffer).clamp(0, 1)


def groups_to_train(has_signal: Sequence[bool], num_groups: int) -> list[int]:
    """Returns the places of the groups that a step trains on, in order: with signal first, others where these are few.

    The number stays what it is without refills, so that a step's normaliser counts as many completions.

    Args:
        has_signal: Of each group that was rolled out.
        num_groups: How many groups a step has; at most as many as there are.

    Example:
        >>> groups_to_train([True, False, False, True], num_groups=3)
        [0, 1, 3]
    """
    places = sorted(range(len(has_signal)), key=lambda place: not has_signal[place])
    return sorted(places[:num_groups])
