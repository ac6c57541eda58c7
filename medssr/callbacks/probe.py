"""Watches training on labelled questions that it does not see, stops it, and keeps the best model."""

from __future__ import annotations

import logging
import shutil
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L

from medssr.callbacks.checkpoint_files import NUM_KEPT
from medssr.config import KeptModel, ProbeConfig
from medssr.evaluation.probe import ProbeHistory, score_probe
from medssr.questions import Question
from medssr.rollout.collector import RolloutCollector

log = logging.getLogger(__name__)


class Probe(L.Callback):
    """Scores the policy every few steps, before the step begins, so that a checkpoint never waits for it.

    Args:
        rollouts: Has the policy and the engine; its weights are the trained ones before a step.
        questions: What is asked.
        config: How often, and when to stop.
        directory: The artefact's folder; the best model so far goes to `best/` in it.
    """

    def __init__(
        self, rollouts: RolloutCollector, questions: Sequence[Question], config: ProbeConfig, directory: Path
    ) -> None:
        self._rollouts = rollouts
        self._questions = questions
        self._config = config
        self._folder = directory / "best"
        self._max_new_tokens = rollouts.config.max_new_tokens
        self._prompts = rollouts.policy.encode(list(questions), self._max_new_tokens, config.path)
        self.history = ProbeHistory()
        self._in_checkpoints: deque[int] = deque(maxlen=NUM_KEPT)  # the best step that each of those on disk tells of

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps."""
        return asdict(self.history)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where the checkpoint was made."""
        self.history = ProbeHistory(**state)
        self._in_checkpoints.append(self.history.best_step)
        if self._keeps_best and not self._model_after(self.history.best_step).is_dir():
            log.warning(
                "probe: the best model, after %d steps, is gone; the search starts anew", self.history.best_step
            )
            self.history = ProbeHistory(start=self.history.start)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remembers which model the checkpoint needs."""
        self._in_checkpoints.append(self.history.best_step)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stops at once where a run is resumed that had stopped."""
        trainer.should_stop = self.history.is_exhausted(self._config, _num_done(trainer))

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Scores when it is time; a step that has begun is the last where training stops."""
        if batch_idx % self._config.every_num_steps:
            return
        start = time.monotonic()
        metrics = self._look(trainer, batch_idx) | {"time/probe": time.monotonic() - start}
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=batch_idx)
        if self.history.is_exhausted(self._config, batch_idx):
            log.info(
                "probe: no better than %.3f (after %d steps) for %d probes; training stops",
                self.history.best,
                self.history.best_step,
                self.history.num_since_best,
            )
            trainer.should_stop = True

    def finish(self, trainer: L.Trainer) -> dict[str, Any]:
        """Scores the model that training ended with, and returns what all scores came to."""
        self._rollouts.policy.model.to(trainer.strategy.root_device)  # Lightning brings it to the CPU when it is done
        last = self._look(trainer, _num_done(trainer))
        return asdict(self.history) | {"last": last["val/probe/accuracy"]}

    def best_model(self) -> Path | None:
        """Returns the folder of the model that the stage ends with, None where that is the last."""
        return self._model_after(self.history.best_step) if self._keeps_best else None

    @property
    def _keeps_best(self) -> bool:
        return self._config.keep is KeptModel.best

    def _model_after(self, num_done: int) -> Path:
        return self._folder / f"step_{num_done:07d}"

    def _look(self, trainer: L.Trainer, num_done: int) -> dict[str, Any]:
        """Scores the policy, keeps it where it is the best so far, and returns the metrics."""
        score = score_probe(self._rollouts.engine, self._questions, self._prompts, self._max_new_tokens)
        score = trainer.strategy.broadcast(score)  # all processes stop, or none
        best_before = self.history.best_step
        is_best = self.history.add(num_done, score.accuracy)
        log.debug("probe: %.3f after %d steps", score.accuracy, num_done)
        if is_best and self._keeps_best and trainer.is_global_zero:
            self._keep(num_done, {best_before, *self._in_checkpoints})
        return score.metrics() | self.history.metrics()

    def _keep(self, num_done: int, needed: set[int]) -> None:
        """Saves the policy, whole or not at all; models that no checkpoint can tell of any more go."""
        for folder in self._folder.glob("*"):
            if folder not in {self._model_after(step) for step in needed}:
                shutil.rmtree(folder)
        temporary = self._folder / "unfinished"
        self._rollouts.policy.save(temporary)
        kept = self._model_after(num_done)
        if kept.exists():  # of a run that was killed after this step and repeated it
            shutil.rmtree(kept)
        temporary.replace(kept)


def _num_done(trainer: L.Trainer) -> int:
    """Returns the training steps that are done, in this run or before it was interrupted."""
    return trainer.fit_loop.epoch_loop.batch_progress.current.completed
