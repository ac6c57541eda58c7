"""Combines the results of all rewards into the `[P, G]` rewards that advantages are computed from.

The reward of a completion is the weighted sum of its rewards, minus the penalties for its length and for its KL to the
reference policy. A completion is unscored (NaN, which is not 0) if one of its rewards returned none, or if it is
truncated and `truncated=mask`. An unscored completion is left out of all means and has no loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from medssr.config import GRPOConfig, Truncated
from medssr.rewards.scoring import Reward, RewardResult

if TYPE_CHECKING:
    from medssr.grpo.rollouts import RolloutGroup


def weighted_sum(rewards: Mapping[str, Reward], results: Mapping[str, RewardResult]) -> float:
    """Returns the weighted sum of the given rewards of one completion; NaN where one of them is unknown.

    Args:
        rewards: Rewards by name, with their weights.
        results: The result of each for the completion, by name.
    """
    return sum(reward.weight * results[name].value for name, reward in rewards.items())


def deciding_rewards(rewards: Mapping[str, Reward]) -> dict[str, Reward]:
    """Returns the rewards that decide whether a group has signal: those for the label, or all if there is none.

    Such a reward has a true attribute `decides_signal`. A group whose completions are all wrong has no signal, even if
    rewards for form or length differ: scaling would turn these small differences into full advantages.
    DAPO (arXiv 2503.14476) also filters groups by accuracy alone.
    """
    deciding = {name: reward for name, reward in rewards.items() if getattr(reward, "decides_signal", False)}
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


def _is_truncated(groups: Sequence[RolloutGroup]) -> Tensor:
    return torch.tensor([[rollout.completion.is_truncated for rollout in group.rollouts] for group in groups])
