"""The optimiser step of modules that split a step into micro-batches themselves."""

from __future__ import annotations

from typing import Any, cast

import lightning as L
import torch


def take_optimizer_step(module: L.LightningModule, max_grad_norm: float) -> float:
    """Clips the gathered gradients, steps the optimiser, clears them, and returns the norm before clipping."""
    norm = torch.nn.utils.clip_grad_norm_(module.parameters(), max_grad_norm)
    optimizer = cast(Any, module.optimizers())  # these modules have one optimiser
    optimizer.step()
    optimizer.zero_grad()
    return float(norm)


def advance_schedule(module: L.LightningModule) -> float:
    """Advances the learning-rate schedule and returns the rate of the step that ends."""
    schedule = cast(Any, module.lr_schedulers())
    rate = float(schedule.get_last_lr()[0])
    schedule.step()
    return rate
