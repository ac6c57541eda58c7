"""Runs Lightning's Trainer with the callbacks, loggers and checkpoint of an artefact."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import lightning as L
from lightning.fabric.utilities.exceptions import MisconfigurationException

from medssr.artifacts import decisive_values
from medssr.config import SFTTrainConfig, TrainConfig, num_check_steps
from medssr.errors import InputError
from medssr.tracking.loggers import OTHER_SERVICES, open_loggers
from medssr.training.checkpoints import check_compatible
from medssr.training.joint_stop import JointStop
from medssr.training.step_checkpoint import StepCheckpoint
from medssr.training.trace import UpdateTrace
from medssr.training.trained_module import TrainedModule
from medssr.utils.instantiate import instantiate
from medssr.utils.progress import Progress
from medssr.utils.stopping import catch_signals

log = logging.getLogger(__name__)


def fit(
    config: TrainConfig | SFTTrainConfig,
    module: TrainedModule,
    data: Any,
    directory: Path,
    checkpoint: Path | None,
    num_steps: int,
    further_callbacks: Sequence[L.Callback] = (),
) -> int:
    """Trains until the last step, or until a signal ends the process, and returns the number of planned steps.

    With `trainer.fast_dev_run` the first steps alone are trained, and nothing is logged to W&B.

    Args:
        config: The configuration of trainer, callbacks, loggers and extras.
        module: The module to train.
        data: A DataModule or a loader.
        directory: Folder of checkpoints and logs.
        checkpoint: The checkpoint to resume from; None for a fresh start.
        num_steps: Number of steps of the whole training.
        further_callbacks: Callbacks that run before those of the configuration.

    Raises:
        InputError: When the checkpoint belongs to another model or optimiser.
    """
    module.save_hyperparameters(decisive_values(asdict(config)), logger=False)
    if checkpoint is not None:
        check_compatible(checkpoint, module, num_steps)
    num_planned = min(num_steps, num_check_steps(config) or num_steps)
    if config.extras.profiler is not None:
        module.trace = UpdateTrace(directory / "traces")
    what = config.stage if isinstance(config, TrainConfig) else "sft"
    with (
        catch_signals(),
        open_loggers(_loggers(config), config, directory) as loggers,
        Progress(what, num_planned, "steps") as progress,
    ):
        callbacks = [JointStop(), *further_callbacks, StepProgress(progress), *_configured_callbacks(config, directory)]
        trainer = _make_trainer(config, callbacks, loggers, directory)
        module.train()
        trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    if config.trainer.get("profiler"):
        log.info("%s", cast(Any, trainer).profiler.summary())  # Lightning's own messages are not shown
    if num_planned < num_steps:
        log.warning(
            "trainer.fast_dev_run: trained %d of %d steps, logged to CSV alone; the artefact is good for a check only",
            num_planned,
            num_steps,
        )
    return num_planned


def _configured_callbacks(config: TrainConfig | SFTTrainConfig, directory: Path) -> list[L.Callback]:
    """Returns the callbacks of the configuration; checkpoints come last, and so have the state after all others."""
    nodes = config.callbacks or {}
    callbacks = [instantiate(node, f"callbacks.{name}", directory=directory) for name, node in nodes.items()]
    return sorted(callbacks, key=lambda callback: isinstance(callback, StepCheckpoint))


def _make_trainer(
    config: TrainConfig | SFTTrainConfig, callbacks: list[L.Callback], loggers: Any, directory: Path
) -> L.Trainer:
    try:
        trainer: L.Trainer = instantiate(
            _trainer(config),
            "trainer",
            callbacks=callbacks,
            logger=loggers,
            enable_progress_bar=False,  # StepProgress shows it
            default_root_dir=str(directory),
        )
    except MisconfigurationException as error:
        raise InputError(f"trainer: {error}") from error
    return trainer


# What is shown of a step, by the metric that has it; of several, the first that the step has.
_SHOWN_METRICS = {
    "loss": ("train/loss",),
    "reward": ("train/reward",),
    "accuracy": ("train/true_accuracy", "train/reward/label_match"),
    "KL": ("train/kl",),
    "length": ("train/completion_tokens",),
    "entropy": ("train/entropy",),
    "tokens/s": ("time/tokens_per_second",),
}


class StepProgress(L.Callback):
    """Counts the steps of a training, and shows reward, accuracy, KL, length and entropy of the last."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Counts the steps of the checkpoint that the training resumes from."""
        self._progress.skip(trainer.fit_loop.epoch_loop.batch_progress.current.completed)

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """Counts a step."""
        assert isinstance(module, TrainedModule)
        self._progress.advance(1, shown_metrics(module.last_metrics))


def shown_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Returns the metrics of a step that are shown beside its progress, by the names that they have there.

    Example:
        >>> shown_metrics({"train/reward": 0.5, "train/kl": 0.01, "train/lr": 1e-6, "train/reward/label_match": 0.25})
        {'reward': 0.5, 'accuracy': 0.25, 'KL': 0.01}
    """
    present = {name: [key for key in keys if key in metrics] for name, keys in _SHOWN_METRICS.items()}
    return {name: metrics[keys[0]] for name, keys in present.items() if keys}


def _loggers(config: TrainConfig | SFTTrainConfig) -> dict[str, Any] | None:
    """Returns the loggers of a run; those of a quick check are on disk alone."""
    if not num_check_steps(config) or config.logger is None:
        return config.logger
    return {name: node for name, node in config.logger.items() if name not in ("wandb", *OTHER_SERVICES)}


def _trainer(config: TrainConfig | SFTTrainConfig) -> dict[str, Any]:
    """Returns the Trainer's settings, with the limit that `fast_dev_run` stands for in place of it.

    Lightning would replace the loggers by a dummy, and with them the file of metrics that belongs to an artefact.
    """
    settings = {name: value for name, value in config.trainer.items() if name != "fast_dev_run"}
    num_steps = num_check_steps(config)
    return settings | ({"limit_train_batches": num_steps} if num_steps else {})
