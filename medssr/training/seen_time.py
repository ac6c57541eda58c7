"""Compares the time that steps take with what was predicted before the training."""

from __future__ import annotations

import logging
import time
from statistics import fmean
from typing import Any

import lightning as L

from medssr.training.forecast import Forecast

log = logging.getLogger(__name__)


class SeenTime(L.Callback):
    """Logs predicted and seen seconds of a step at the end of the training.

    The first step of a start is not counted where there are others, because it also allocates and compiles.

    Args:
        forecast: What a step is expected to take.
    """

    def __init__(self, forecast: Forecast) -> None:
        self._forecast = forecast
        self._seconds: list[float] = []
        self._begin = 0.0

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Starts the clock of a step."""
        self._begin = time.monotonic()

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Stops the clock; at the last step, logs the comparison with its metrics."""
        self._seconds.append(time.monotonic() - self._begin)
        if trainer.global_rank == 0 and trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._compare(trainer)

    def _compare(self, trainer: L.Trainer) -> None:
        seen, predicted = fmean(self._seconds[1:] or self._seconds), self._forecast.seconds.total
        log.info(
            "a step took %.3g s; predicted were %.3g s on %d x %s (%+.0f%%; docs/cost.md has the model)",
            seen,
            predicted,
            self._forecast.num_devices,
            self._forecast.hardware.name,
            100 * (predicted / seen - 1),
        )
        step = trainer.fit_loop.epoch_loop.batch_idx
        for logger in trainer.loggers:
            logger.log_metrics({"time/step_predicted": predicted}, step=step)
