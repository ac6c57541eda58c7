"""Lightning loggers from the configuration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medssr.tracking.csv_logger import CSVMetrics
from medssr.tracking.wandb_logger import WandbMetrics
from medssr.utils.instantiate import instantiate


@contextmanager
def open_loggers(nodes: dict[str, Any] | None, config: Any, directory: Path) -> Iterator[list[Any]]:
    """Yields the loggers that write into an artefact's folder; each gets the whole configuration.

    Args:
        nodes: Loggers by name; None for none.
        config: The step's typed configuration.
        directory: The artefact's folder. A run that is resumed logs to the same W&B run, named by the fingerprint.
    """
    has_wandb = nodes is not None and "wandb" in nodes
    if has_wandb:
        import wandb

        wandb.termsetup(wandb.Settings(silent=True), None)  # its banner would break the progress bar
        os.environ.setdefault("WANDB_SILENT", "true")
    loggers = []
    for name, node in (nodes or {}).items():
        arguments: dict[str, Any] = {"save_dir": str(directory)}
        if name == "wandb":
            arguments["id"] = directory.name
        logger = instantiate(node, f"logger.{name}", **arguments)
        logger.log_hyperparams(asdict(config))
        loggers.append(logger)
    in_file = [row for logger in loggers if isinstance(logger, CSVMetrics) for row in logger.rows()]
    for logger in loggers:
        if isinstance(logger, WandbMetrics):
            logger.catch_up(in_file)
    try:
        yield loggers
    finally:
        if has_wandb:
            wandb.finish()
