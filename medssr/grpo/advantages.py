"""From rewards to advantages: what a completion earns, and how much better that is than its group.

The reward of a completion is the weighted sum of its rewards, minus the penalties for its length and for its KL to the
reference policy. A completion is unscored (NaN, which is not 0) if one of its rewards returned none, or if it is
truncated and `truncated=mask`. An unscored completion is left out of all means and has no loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from medssr.config import GRPOConfig, ScaleRewards, Truncated
from medssr.rewards.scoring import Reward, RewardResult, traits_of

if TYPE_CHECKING:
    from medssr.grpo.rollouts import RolloutGroup


def weighted_sum(rewards: Mapping[str, Reward], results: Mapping[str, RewardResult]) -> float:
    """Returns the weighted sum of the given rewards of one completion; NaN where one of them is unknown.

    Args:
        rewards: Rewards by name, with their weights.
        results: The result of each for the completion, by name.
    """
    return sum(reward.weight * results[name].value for name, reward in rewards.items())


def weighted_sums(rewards: Mapping[str, Reward], results: Mapping[str, RewardResult]) -> tuple[float, float]:
    """Returns the weighted sums of the results of a completion: of all, and of those that decide signal.

    Args:
        rewards: Rewards by name; those without a result are not rewards of this completion.
        results: The result of each of its rewards, by name.
    """
    given = {name: rewards[name] for name in results}
    return weighted_sum(given, results), weighted_sum(deciding_rewards(given), results)


def deciding_rewards(rewards: Mapping[str, Reward]) -> dict[str, Reward]:
    """Returns the rewards that decide whether a group has signal: those for the label, or all if there is none.

    Such a reward has a true attribute `decides_signal`. A group whose completions are all wrong has no signal, even if
    rewards for form or length differ: scaling would turn these small differences into full advantages.
    DAPO (arXiv 2503.14476) also filters groups by accuracy alone.
    """
    deciding = {name: reward for name, reward in rewards.items() if traits_of(reward).decides_signal}
    return deciding or dict(rewards)


def step_rewards(groups: Sequence[RolloutGroup], config: GRPOConfig, sequence_kls: Tensor | None) -> Tensor:
    """Returns the reward of each completion, `[P, G]`; NaN where it is unscored.

    Args:
        groups: P groups of G rollouts.
        config: The treatment of truncated and over-long completions, and the weight of the KL.
        sequence_kls: `[P, G]`, the KL estimate of each completion, subtracted from its reward; None if the KL is not
            in the reward.
    """
    rewards = torch.tensor([[rollout.reward for rollout in group.rollouts] for group in groups])
    if config.truncated is Truncated.mask:
        rewards = rewards.masked_fill(_is_truncated(groups), torch.nan)
    if config.overlong_buffer > 0:
        lengths = torch.tensor([[len(rollout.completion.token_ids) for rollout in group.rollouts] for group in groups])
        penalty = overlong_penalty(lengths, config.max_new_tokens, config.overlong_buffer)
        rewards = rewards - config.overlong_penalty * penalty
    if sequence_kls is not None:
        rewards = rewards - config.beta * sequence_kls
    return rewards


def label_rewards(groups: Sequence[RolloutGroup], config: GRPOConfig) -> Tensor:
    """Returns the rewards that decide whether a group has signal, `[P, G]`; NaN where a completion is unscored.

    Args:
        groups: P groups of G rollouts.
        config: The treatment of truncated completions.
    """
    rewards = torch.tensor([[rollout.label_reward for rollout in group.rollouts] for group in groups])
    return rewards.masked_fill(_is_truncated(groups), torch.nan) if config.truncated is Truncated.mask else rewards


def label_signal(groups: Sequence[RolloutGroup], rewards: Tensor, config: GRPOConfig) -> Tensor:
    """Returns whether the label rewards of each group's scored completions differ, `[P]`.

    Args:
        groups: P groups of G rollouts.
        rewards: `[P, G]`, of `step_rewards`.
        config: The treatment of truncated completions.
    """
    return is_nonzero_std(torch.where(is_scored(rewards), label_rewards(groups, config), torch.nan))


def has_signal(groups: Sequence[RolloutGroup], rewards: Tensor, config: GRPOConfig) -> Tensor:
    """Returns whether each group is worth training, `[P]`: its label rewards differ, or advantages are shifted.

    The arguments are those of `label_signal`.
    """
    return label_signal(groups, rewards, config) | (advantage_shifts(groups, rewards) != 0).any(dim=1)


def trained_advantages(compared: Tensor, groups: Sequence[RolloutGroup], rewards: Tensor, config: GRPOConfig) -> Tensor:
    """Returns the advantages that the loss gets, `[P, G]`: 0 in groups without signal, plus what rewards add.

    Args:
        compared: `[P, G]`, of `group_advantages`.
        groups: P groups of G rollouts.
        rewards: `[P, G]`, of `step_rewards`.
        config: The treatment of truncated completions.
    """
    is_compared = label_signal(groups, rewards, config).unsqueeze(1)
    return torch.where(is_compared, compared, 0.0) + advantage_shifts(groups, rewards)


def advantage_shifts(groups: Sequence[RolloutGroup], rewards: Tensor) -> Tensor:
    """Returns what rewards add to the advantage of each completion, `[P, G]`; 0 where it is unscored."""
    shifts = torch.tensor([[rollout.advantage_shift for rollout in group.rollouts] for group in groups])
    return shifts.masked_fill(~is_scored(rewards), 0.0)


def overlong_penalty(lengths: Tensor, max_new_tokens: int, buffer: int) -> Tensor:
    """Returns the length penalty of completions, 0 to 1, of the shape of `lengths`.

    It is 0 up to max_new_tokens - buffer tokens and grows linearly from there to 1 at max_new_tokens (soft over-long
    punishment of DAPO, arXiv 2503.14476, with the opposite sign).

    Args:
        lengths: Completion tokens.
        max_new_tokens: The length at which completions are truncated.
        buffer: Number of tokens over which the penalty grows; 0 for no penalty.

    Example:
        >>> overlong_penalty(torch.tensor([10, 80, 90, 100]), max_new_tokens=100, buffer=20).tolist()
        [0.0, 0.0, 0.5, 1.0]
    """
    if buffer == 0:
        return torch.zeros_like(lengths, dtype=torch.float32)
    return ((lengths - (max_new_tokens - buffer)) / buffer).clamp(0, 1)


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


def _is_truncated(groups: Sequence[RolloutGroup]) -> Tensor:
    return torch.tensor([[rollout.completion.is_truncated for rollout in group.rollouts] for group in groups])
