"""Watches the rollouts of a training: logs faults of rewards and truncation, stops where a reward scores nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import lightning as L

from medssr.engines.truncation import truncation_warning
from medssr.grpo.rollouts import RolloutGroup, StepRollouts
from medssr.rewards.faults import FaultWatch
from medssr.rewards.scoring import Reward

log = logging.getLogger(__name__)

_CHECKPOINT_KEY = "reward_faults"


class RolloutWatch(L.Callback):
    """Looks at the rollouts of each step, and at the results of their rewards.

    Args:
        rewards: The rewards by name.
    """

    def __init__(self, rewards: Mapping[str, Reward]) -> None:
        self.faults = FaultWatch(rewards)
        self._has_warned_of_truncation = False

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Looks at a step.

        Raises:
            InputError: On every process, when a reward scores nothing.
        """
        module: Any = pl_module  # a GRPOModule
        rollouts: StepRollouts = module.last_step
        self.faults.update(
            rollouts.step,
            [group.question.id for group in rollouts.groups for _ in group.rollouts],
            [rollout.results for group in rollouts.groups for rollout in group.rollouts],
            is_last_step=rollouts.step + 1 == trainer.num_training_batches,
            logs=trainer.is_global_zero,
        )
        if trainer.is_global_zero and not self._has_warned_of_truncation:
            self._warn_of_truncation(rollouts.step, rollouts.groups)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds what became of the rewards so far."""
        checkpoint[_CHECKPOINT_KEY] = self.faults.state_dict()

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Counts on; a checkpoint of supervised training has no rewards."""
        if _CHECKPOINT_KEY in checkpoint:
            self.faults.load_state_dict(checkpoint[_CHECKPOINT_KEY])

    def _warn_of_truncation(self, step: int, groups: Sequence[RolloutGroup]) -> None:
        """Logs a warning at the first step in which most completions are truncated."""
        flags = [rollout.completion.is_truncated for group in groups for rollout in group.rollouts]
        message = truncation_warning(sum(flags), len(flags), f"training step {step}", "grpo.max_new_tokens")
        if message is not None:
            self._has_warned_of_truncation = True
            log.warning(message)
