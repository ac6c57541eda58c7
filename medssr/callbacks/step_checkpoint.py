"""Checkpoints by training step: whole or absent, the newest and the one before it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import lightning as L

from medssr.tracking.csv_logger import CSVMetrics

log = logging.getLogger(__name__)

NUM_KEPT = 2


class StepCheckpoint(L.Callback):
    """Saves the whole training state every few steps and after the last.

    Args:
        directory: The artefact's folder; checkpoints go to `checkpoints/` in it.
        every_num_steps: Steps between checkpoints.
    """

    def __init__(self, directory: Path | str, every_num_steps: int) -> None:
        self._folder = Path(directory) / "checkpoints"
        self._every_num_steps = every_num_steps

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves when it is time."""
        num_done = batch_idx + 1
        if num_done % self._every_num_steps and num_done != trainer.num_training_batches:
            return
        for logger in trainer.loggers:
            if isinstance(logger, CSVMetrics):
                logger.write()
        path = self._folder / f"step_{num_done:07d}.ckpt"
        temporary = path.with_suffix(".tmp")
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            temporary.replace(path)
            log.debug("checkpoint after step %d of %s", num_done, trainer.num_training_batches)
            for old in _checkpoints(self._folder)[:-NUM_KEPT]:
                old.unlink()


def last_checkpoint(directory: Path) -> str | None:
    """Returns the newest checkpoint of an artefact's folder, or None."""
    found = _checkpoints(directory / "checkpoints")
    return str(found[-1]) if found else None


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("step_*.ckpt"))
