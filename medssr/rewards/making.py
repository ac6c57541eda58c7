"""Rewards from the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from medssr.rewards.isolation import IsolatedReward
from medssr.rewards.types import Reward
from medssr.utils.instantiate import instantiate

# Ours take time linear in the completion, so that nothing has to watch over them.
_OURS = "medssr.rewards."


@contextmanager
def open_rewards(nodes: Mapping[str, Any], timeout_s: float) -> Iterator[dict[str, Reward]]:
    """Yields the rewards by name; those that are not of this package run in processes of their own until the end.

    Args:
        nodes: Their configuration by name.
        timeout_s: Seconds that a reward in a process of its own may take for one completion.

    Raises:
        InputError: When a reward cannot be made.
    """
    rewards: dict[str, Reward] = {}
    try:
        for name, node in nodes.items():
            is_ours = str(node.get("_target_")).startswith(_OURS)
            rewards[name] = instantiate(node, f"reward.{name}") if is_ours else IsolatedReward(name, node, timeout_s)
        yield rewards
    finally:
        for reward in rewards.values():
            if isinstance(reward, IsolatedReward):
                reward.close()
