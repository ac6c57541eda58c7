"""Opens the loggers that the configuration names."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from medssr.config.composition import plain
from medssr.tracking.csv_logger import CSVMetrics
from medssr.tracking.lightning_loggers import MLflowMetrics, RunIdentity, TensorBoardMetrics
from medssr.tracking.wandb_limits import is_wandb_disabled
from medssr.tracking.wandb_logger import WandbMetrics
from medssr.tracking.wandb_trials import Trial, is_of_command, trial_of_agent
from medssr.utils.instantiate import instantiate
from medssr.utils.naming import job_name
from medssr.utils.provenance import all_packages, git_state, hardware, overrides

log = logging.getLogger(__name__)

# Loggers that have a folder or a server of their own for all runs.
OTHER_SERVICES = ("tensorboard", "mlflow")


@contextmanager
def open_loggers(
    nodes: dict[str, Any] | None, config: Any, directory: Path, run_id: str | None = None
) -> Iterator[list[Any]]:
    """Yields the loggers that write into a folder, without W&B where the environment disables it.

    Each gets the whole configuration.

    Args:
        nodes: Loggers by name; None for none.
        config: The step's typed configuration.
        directory: The folder, usually that of an artefact.
        run_id: The id of the W&B run; None for the folder's name, the fingerprint, so that a resumed run logs to the
            same W&B run.
    """
    nodes = dict(nodes or {})
    if "wandb" in nodes and is_wandb_disabled():
        del nodes["wandb"]
        _say_disabled()
    trial = trial_of_agent()  # before W&B reads the environment
    if "wandb" in nodes:
        import wandb

        wandb.termsetup(wandb.Settings(silent=True), None)  # the banner would break the progress bar
        os.environ.setdefault("WANDB_SILENT", "true")
    loggers = []
    run_id = run_id or directory.name
    for name, node in nodes.items():
        arguments = _arguments(name, node, config, directory, run_id, trial)
        logger = instantiate(node, f"logger.{name}", **arguments)
        logger.log_hyperparams(plain(config) | _provenance() if name == "wandb" else plain(config))
        if "sweep_id" in arguments and trial is not None:
            logger.log_hyperparams(trial.parameters)
        loggers.append(logger)
    logged_rows = [row for logger in loggers if isinstance(logger, CSVMetrics) for row in logger.rows()]
    for logger in loggers:
        if isinstance(logger, WandbMetrics | TensorBoardMetrics | MLflowMetrics):
            logger.catch_up(logged_rows)
    try:
        yield loggers
    finally:
        for logger in loggers:
            if isinstance(logger, WandbMetrics):
                logger.close()


def _arguments(
    name: str, node: Mapping[str, Any], config: Any, directory: Path, run_id: str, trial: Trial | None
) -> dict[str, Any]:
    """Returns what a logger is given beside the settings of its node; arguments as of `open_loggers`."""
    if name in OTHER_SERVICES:
        identity = _identity(config, {})
        return {"identity": RunIdentity(identity["group"], identity["name"], run_id)}
    arguments: dict[str, Any] = {"save_dir": str(directory)}
    if name == "wandb":
        arguments |= {"id": run_id} | _identity(config, node)
        if trial is not None and is_of_command(plain(config)):
            arguments |= {"id": trial.run_id, "sweep_id": trial.sweep_id}
    return arguments


@cache  # says it once, however many loggers are opened
def _say_disabled() -> None:
    log.info("the environment disables Weights & Biases: nothing is logged there")


def _identity(config: Any, node: Mapping[str, Any]) -> dict[str, Any]:
    """Returns group, job type and name of a W&B run: those of the logger's node, else the study, the step and both."""
    values = plain(config)
    step = values.get("stage") or values["task_name"]
    name = f"{job_name(overrides())} {step}"
    defaults = {"group": values.get("study") or values["task_name"], "job_type": step, "name": name}
    return {key: node.get(key) or value for key, value in defaults.items()}


def _provenance() -> dict[str, Any]:
    return {"overrides": overrides(), "git": git_state(), "packages": all_packages(), "hardware": hardware()}
