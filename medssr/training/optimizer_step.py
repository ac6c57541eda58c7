"""Optimiser steps over several micro-batches, skipped steps, and learning-rate schedules."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.strategies import ParallelStrategy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from medssr.errors import InputError
from medssr.models.sharding import full_weight
from medssr.utils import stopping

log = logging.getLogger(__name__)

_NUM_NAMED = 50


def add_gradient(module: L.LightningModule, loss: torch.Tensor, *, is_last: bool) -> None:
    """Adds the gradient of a micro-batch's loss to the gradient of the optimiser step.

    Args:
        module: The module that is trained.
        loss: The loss of a micro-batch.
        is_last: Whether it is the last of its optimiser step, after which processes average their gradients.
    """
    strategy = module.trainer.strategy
    is_deferred = isinstance(strategy, ParallelStrategy) and not is_last
    with cast(ParallelStrategy, strategy).block_backward_sync() if is_deferred else nullcontext():
        module.manual_backward(loss)


def take_optimizer_step(module: L.LightningModule, max_grad_norm: float, loss: float) -> float | None:
    """Clips the accumulated gradients, takes the optimiser step, and returns the gradient norm before clipping.

    If the loss or the norm is not finite on any process, all processes skip the step: weights and optimiser state do
    not change, and None is returned.

    Args:
        module: The module that is trained.
        max_grad_norm: The largest norm of the gradients after clipping.
        loss: The local loss of the step.
    """
    stopping.hold()
    norm = float(full_weight(torch.nn.utils.clip_grad_norm_(module.parameters(), max_grad_norm)))
    optimizer = cast(Any, module.optimizers())  # these modules have one optimiser
    is_finite = module.trainer.strategy.reduce_boolean_decision(math.isfinite(loss) and math.isfinite(norm), all=True)
    if is_finite:
        optimizer.step()
    optimizer.zero_grad()
    return norm if is_finite else None


def advance_schedule(module: L.LightningModule) -> float:
    """Advances the learning-rate schedule, and returns the learning rate before that."""
    stopping.hold()
    schedule = cast(Any, module.lr_schedulers())
    rate = float(schedule.get_last_lr()[0])
    schedule.step()
    return rate


class SkippedSteps:
    """Counts optimiser steps skipped for a non-finite loss or gradient; stops training after N in a row.

    Checkpoints store `state_dict()`.

    Args:
        limit: Number of consecutive skipped steps that stops the training.
        limit_key: The configuration key of the limit, for the message.
    """

    def __init__(self, limit: int, limit_key: str) -> None:
        self._limit = limit
        self._limit_key = limit_key
        self._steps: list[int] = []
        self._items: list[str] = []

    def took(self) -> None:
        """Resets the count after an optimiser step was taken."""
        self._steps, self._items = [], []

    def skipped(self, step: int, items: Iterable[str]) -> None:
        """Counts a skipped optimiser step.

        Args:
            step: The training step that it belongs to.
            items: Names of its samples, such as the ids of questions.

        Raises:
            InputError: When the limit is reached.
        """
        names = list(dict.fromkeys(items))
        self._steps.append(step)
        self._items += names
        log.warning("step %d: loss or gradient is not finite, so it changes no weights (%s)", step, _listed(names))
        if len(self._steps) >= self._limit:
            raise InputError(
                f"{self._limit_key}: {self._limit} optimiser steps in a row (in training steps {self._steps[0]} to "
                f"{self._steps[-1]}) had a loss or gradient that is not finite. They were about "
                f"{_listed(dict.fromkeys(self._items))}. Look at these; else lower optim.optimizer.lr or compute in "
                "float32 (trainer.precision=32-true model.dtype=float32)."
            )

    def state_dict(self) -> dict[str, Any]:
        """Returns the state for the checkpoint."""
        return {"steps": list(self._steps), "items": list(self._items)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the state of a checkpoint."""
        self._steps, self._items = list(state["steps"]), list(state["items"])


def _listed(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _NUM_NAMED} more" if len(listed) > _NUM_NAMED else ""
    return ", ".join(listed[:_NUM_NAMED]) + more


def fused_by_device(make: Callable[..., Optimizer], weights: Sequence[torch.Tensor]) -> dict[str, bool]:
    """Returns `fused=True` for an optimiser that leaves the setting open, if all weights are on GPUs; else nothing.

    Args:
        make: Creates the optimiser; a partial call with `fused=None` leaves the setting open.
        weights: The weights to train.

    Example:
        >>> make = partial(torch.optim.AdamW, fused=None)
        >>> fused_by_device(make, [torch.zeros(1)])
        {}
    """
    given = make.keywords if isinstance(make, partial) else {}
    is_open = "fused" in given and given["fused"] is None
    return {"fused": True} if is_open and all(weight.device.type == "cuda" for weight in weights) else {}


def warmup_then_constant(optimizer: Optimizer, num_warmup_steps: int) -> LambdaLR:
    """Returns a schedule that rises linearly to the full learning rate and stays there."""
    return LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / max(1, num_warmup_steps)))


def warmup_then_cosine(optimizer: Optimizer, num_warmup_steps: int, num_steps: int) -> LambdaLR:
    """Returns a schedule that rises linearly, then falls to zero along half a cosine at `num_steps`."""

    def factor(step: int) -> float:
        if step < num_warmup_steps:
            return (step + 1) / num_warmup_steps
        progress = (step - num_warmup_steps) / max(1, num_steps - num_warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    return LambdaLR(optimizer, factor)
