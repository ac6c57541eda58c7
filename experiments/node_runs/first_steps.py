"""A callback that keeps the weights of an early step, from which rounding has not yet led two runs apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from safetensors.torch import save_file

from medssr.models.sharding import full_weight

FILE = "first_steps.safetensors"


class FirstSteps(L.Callback):
    """Writes the whole weights after a step to the artefact's folder.

    Args:
        directory: The artefact's folder.
        num_steps: The number of training steps after which they are written.
    """

    def __init__(self, directory: Path | str, num_steps: int) -> None:
        self._file, self._num_steps = Path(directory) / FILE, num_steps

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Gathers the weights, together with the other processes, and writes them in the first one."""
        if batch_idx + 1 != self._num_steps:
            return
        weights = {name: full_weight(weight).detach().clone() for name, weight in pl_module.model.named_parameters()}
        if trainer.is_global_zero:
            save_file(weights, self._file)
