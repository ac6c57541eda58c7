"""What GRPO and SFT share: a model that one process or several train, whole or sharded, and its checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import lightning as L
import torch

from medssr.models.sharding import fill, is_sharded, shard
from medssr.training.optimizer_step import SkippedSteps, fused_by_device
from medssr.training.trace import UpdateTrace


class TrainedModule(L.LightningModule):
    """A model whose steps are split into micro-batches by tokens; sub-classes define `training_step`.

    Args:
        model: The model to train.
        optimizer: Creates the optimiser for the given parameters.
        scheduler: Creates the learning-rate schedule for the given optimiser.
        skipped_steps: Counts the optimiser steps without a finite loss and gradient.
        load_whole: Loads the whole model where `model` is sharded and has no weights yet; None if it has them.

    Attributes:
        trace: Traces updates; None, unless it is set before the training.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Callable[..., torch.optim.Optimizer],
        scheduler: Callable[..., Any],
        skipped_steps: SkippedSteps,
        load_whole: Callable[[], Any] | None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.skipped_steps = skipped_steps
        self.strict_loading = all(weight.requires_grad for weight in model.parameters())  # see `state_dict`
        self._make_optimizer = optimizer
        self._make_scheduler = scheduler
        self._load_whole = load_whole
        self.trace: UpdateTrace | None = None
        self.last_metrics: dict[str, float] = {}  # of the last step, for callbacks

    def log_step(self, step: int, metrics: dict[str, float]) -> None:
        """Logs the metrics of a step, and keeps them for callbacks.

        Not by Lightning's log_dict, which logs after the callbacks: the metrics of a step must be logged before its
        checkpoint.
        """
        self.last_metrics = metrics
        for logger in self.loggers:
            logger.log_metrics(metrics, step=step)

    def is_last_step(self, step: int) -> bool:
        """Returns whether the training ends with a step."""
        return bool(self.trainer.should_stop or step + 1 == self.trainer.num_training_batches)

    def traced(self, step: int) -> AbstractContextManager[None]:
        """Returns a context in which the update of a step is traced, if updates are."""
        return nullcontext() if self.trace is None else self.trace.update(step, is_last=self.is_last_step(step))

    def frozen_models(self) -> list[Any]:
        """Returns the models that are sharded like the one that is trained."""
        return []

    def configure_model(self) -> None:
        """Shards the models over the processes, if the strategy shards models."""
        if self.device_mesh is None or is_sharded(self.model):
            return
        assert self.strict_loading, "adapters on a sharded model are refused when the configuration is composed"
        dtype = torch.bfloat16 if str(self.trainer.precision).startswith("bf16") else torch.float32
        models = [self.model, *self.frozen_models()]
        for model in models:
            shard(model, self.device_mesh["data_parallel"], dtype)
        if self._load_whole is not None:
            fill(models, self._load_whole, self.trainer.strategy.root_device)

    def configure_optimizers(self) -> Any:
        """Returns optimiser and schedule."""
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        optimizer = self._make_optimizer(weights, **fused_by_device(self._make_optimizer, weights))
        return {"optimizer": optimizer, "lr_scheduler": self._make_scheduler(optimizer)}

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Returns the weights without the frozen ones of a model with adapters, which are not in checkpoints."""
        weights: dict[str, Any] = super().state_dict(*args, **kwargs)
        for name, weight in self.model.named_parameters(remove_duplicate=False):
            if not weight.requires_grad:
                weights.pop(f"model.{name}", None)
        return weights

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the count of skipped steps."""
        checkpoint["skipped_steps"] = self.skipped_steps.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores the count of skipped steps."""
        self.skipped_steps.load_state_dict(checkpoint["skipped_steps"])
