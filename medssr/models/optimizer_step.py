"""The optimiser step of modules that split a step into micro-batches themselves."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.strategies import DeepSpeedStrategy, ParallelStrategy

from medssr.models.sharding import whole
from medssr.utils import stopping


def add_gradient(module: L.LightningModule, loss: torch.Tensor, *, is_last: bool) -> None:
    """Adds a loss's gradient to those of the step's losses before it.

    Args:
        module: Its weights have the gradient.
        loss: Of a micro-batch.
        is_last: Whether it is the step's last, at which processes average their gradients.
    """
    strategy = module.trainer.strategy
    if isinstance(strategy, DeepSpeedStrategy):
        strategy.deepspeed_engine.set_gradient_accumulation_boundary(is_last)
    waits = isinstance(strategy, ParallelStrategy) and not is_last
    with cast(ParallelStrategy, strategy).block_backward_sync() if waits else nullcontext():
        module.manual_backward(loss)


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
    if isinstance(module.trainer.strategy, DeepSpeedStrategy):
        return _take_deepspeed_step(module)
    norm = float(whole(torch.nn.utils.clip_grad_norm_(module.parameters(), max_grad_norm)))
    optimizer = cast(Any, module.optimizers())  # these modules have one optimiser
    is_sound = module.trainer.strategy.reduce_boolean_decision(math.isfinite(loss) and math.isfinite(norm), all=True)
    if is_sound:
        optimizer.step()
    optimizer.zero_grad()
    return norm if is_sound else None


def _take_deepspeed_step(module: L.LightningModule) -> float | None:
    """The same by DeepSpeed's engine, which clips, steps and clears by its own configuration."""
    engine = cast(DeepSpeedStrategy, module.trainer.strategy).deepspeed_engine
    cast(Any, module.optimizers()).step()
    return float(engine.get_global_grad_norm()) if engine.was_step_applied() else None


def advance_schedule(module: L.LightningModule) -> float:
    """Advances the learning-rate schedule and returns the rate of the step that ends."""
    stopping.hold()
    schedule = cast(Any, module.lr_schedulers())
    rate = float(schedule.get_last_lr()[0])
    schedule.step()
    return rate
