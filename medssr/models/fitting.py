"""Lightning's Trainer on an artefact's folder: callbacks, loggers and the checkpoint to go on from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L

from medssr.callbacks.step_checkpoint import last_checkpoint
from medssr.config import TrainConfig, WarmStartConfig
from medssr.tracking.loggers import open_loggers
from medssr.utils.instantiate import instantiate


def fit(
    config: TrainConfig | WarmStartConfig,
    module: L.LightningModule,
    data: Any,
    directory: Path,
    further_callbacks: Sequence[L.Callback] = (),
) -> None:
    """Trains the module, from the newest checkpoint in the folder where there is one.

    Args:
        config: Its trainer, callbacks, loggers and extras are used.
        module: What is trained.
        data: A DataModule or a loader.
        directory: Folder of checkpoints and logs.
        further_callbacks: Beside those of the configuration, and before them.
    """
    callbacks = {
        name: instantiate(node, f"callbacks.{name}", directory=directory)
        for name, node in (config.callbacks or {}).items()
    }
    with open_loggers(config.logger, config, directory) as loggers:
        trainer: L.Trainer = instantiate(
            config.trainer,
            "trainer",
            callbacks=[*further_callbacks, *callbacks.values()],
            logger=loggers,
            enable_progress_bar=config.extras.progress_bar,
            default_root_dir=str(directory),
        )
        module.train()
        trainer.fit(module, data, ckpt_path=last_checkpoint(directory), weights_only=True)
