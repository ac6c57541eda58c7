"""The optimiser step of modules that split a step into micro-batches themselves."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.strategies import ParallelStrategy

from medssr.utils import stopping


def unsynchronised(module: L.LightningModule) -> AbstractContextManager[None]:
    """Returns a block whose backward passes leave gradients where they are, for a later one to average them all."""
    strategy = module.trainer.strategy
    return strategy.block_backward_sync() if isinstance(strategy, ParallelStrategy) else nullcontext()


def take_optimizer_step(module: L.LightningModule, max_grad_norm: float, loss: float) -> float | None:
    """Clips the gathered gradients, steps the optimiser, clears them, and returns the norm before clipping.

    Where the loss or the norm is not finite there is no step, on any process: weights and the optimiser's state stay as
    they are, bit for bit, and None is returned.

    Args:
        module: The gradients are those of its parameters.
        max_grad_norm: The norm is cut to this.
        loss: Of the step, as far as this process knows it.
    """
    stopping.hold()
    norm = float(torch.nn.utils.clip_grad_norm_(module.parameters(), max_grad_norm))
    optimizer = cast(Any, module.optimizers())  # these modules have one optimiser
    is_sound = module.trainer.strategy.reduce_boolean_decision(math.isfinite(loss) and math.isfinite(norm), all=True)
    if is_sound:
        optimizer.step()
    optimizer.zero_grad()
    return norm if is_sound else None


def advance_schedule(module: L.LightningModule) -> float:
    """Advances the learning-rate schedule and returns the rate of the step that ends."""
    stopping.hold()
    schedule = cast(Any, module.lr_schedulers())
    rate = float(schedule.get_last_lr()[0])
    schedule.step()
    return rate
