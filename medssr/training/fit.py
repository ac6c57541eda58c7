"""Runs Lightning's Trainer with the callbacks, loggers and checkpoint of an artefact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.utilities.exceptions import MisconfigurationException

from medssr.artifacts import decisive_values
from medssr.config import SFTTrainConfig, TrainConfig
from medssr.errors import InputError
from medssr.tracking.loggers import open_loggers
from medssr.training.checkpoints import check_compatible
from medssr.training.step_checkpoint import StepCheckpoint
from medssr.utils.instantiate import instantiate
from medssr.utils.stopping import catch_signals


def fit(
    config: TrainConfig | SFTTrainConfig,
    module: L.LightningModule,
    data: Any,
    directory: Path,
    checkpoint: Path | None,
    num_steps: int,
    further_callbacks: Sequence[L.Callback] = (),
) -> None:
    """Trains the module until the last step, or until a signal ends the process.

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
    callbacks = [
        instantiate(node, f"callbacks.{name}", directory=directory) for name, node in (config.callbacks or {}).items()
    ]
    with catch_signals(), open_loggers(config.logger, config, directory) as loggers:
        try:
            trainer: L.Trainer = instantiate(
                config.trainer,
                "trainer",
                # Checkpoints come last, so that they contain the state after all other callbacks.
                callbacks=[
                    *further_callbacks,
                    *sorted(callbacks, key=lambda callback: isinstance(callback, StepCheckpoint)),
                ],
                logger=loggers,
                enable_progress_bar=config.extras.progress_bar,
                default_root_dir=str(directory),
            )
        except MisconfigurationException as error:
            raise InputError(f"trainer: {error}") from error
        module.train()
        trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
