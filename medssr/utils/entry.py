"""How every command starts: compose, check, run, and tell a user's fault from a bug."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.config import ExtrasConfig, register
from medssr.errors import InputError
from medssr.utils.stopping import Stopped, catch_signals

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger(__name__)

CONF_DIR = Path(__file__).parents[2] / "conf"
USER_FAULT = 2


def run_command(name: str, task: Callable[[Any], Any]) -> None:
    """Runs a command: its configuration from `conf/<name>.yaml` and the command line, checked, then `task`.

    The process ends with code 2 and a message, not a traceback, for a fault in configuration or input; and with
    128 + its number for a signal.

    Args:
        name: The root configuration.
        task: Takes the typed configuration; what it returns is Hydra's objective value.
    """
    import hydra

    register(name)
    has_started = False

    @hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=name)
    def command(config: DictConfig) -> Any:
        nonlocal has_started
        has_started = True
        return _run(task, config)

    try:
        command()
    except SystemExit as end:
        # Hydra itself says what is wrong with a configuration that it cannot compose, and exits with 1.
        sys.exit(USER_FAULT if end.code == 1 and not has_started else end.code)


def _run(task: Callable[[Any], Any], config: DictConfig) -> Any:
    """Runs the task; what ends it early ends the process with a line that says why."""
    try:
        with catch_signals():
            made = typed(config)
            return _run_as_job(task, made) if _is_in_a_sweep() else task(made)
    except InputError as error:
        log.error("%s", error)
        sys.exit(USER_FAULT)
    except Stopped as stop:
        log.warning("ended by %s; the same command goes on from here", stop.signal_name)
        raise


def _is_in_a_sweep() -> bool:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    return HydraConfig.get().mode is RunMode.MULTIRUN


def _run_as_job(task: Callable[[Any], Any], config: Any) -> float | None:
    from hydra.core.hydra_config import HydraConfig

    from medssr.sweeps.gpus import take_gpu
    from medssr.sweeps.jobs import job_fingerprint, run_job

    hydra_config = HydraConfig.get()

    def work() -> Any:
        if "joblib" in hydra_config.launcher["_target_"]:  # the one launcher that lets jobs share a machine
            take_gpu()
        return task(config)

    return run_job(Path(hydra_config.runtime.output_dir), job_fingerprint(config), config.force, work)


def typed(config: DictConfig) -> Any:
    """Returns the configuration as its dataclass, checked.

    Raises:
        InputError: When a value is missing, or is refused.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    try:
        return OmegaConf.to_object(config)
    except MissingMandatoryValue as error:
        raise InputError(f"{error.full_key}: has no default; give {error.full_key}=... on the command line.") from error
    except OmegaConfBaseException as error:
        raise InputError(f"{error.full_key}: {str(error).splitlines()[0]}") from error


def prepare_process(extras: ExtrasConfig, seed: int) -> None:
    """Sets threads, seeds and the talkativeness of libraries; before the first model is loaded."""
    import torch
    import transformers
    from lightning import seed_everything

    if extras.num_threads is not None:
        torch.set_num_threads(extras.num_threads)
    # Lightning 2.6 calls what torch 2.13 has renamed; nothing that a user could act on.
    warnings.filterwarnings("ignore", message=".*treespec", module="lightning")
    # A first step in which nothing can be learnt takes no optimiser step, and the schedule goes on.
    warnings.filterwarnings("ignore", message="Detected call of .lr_scheduler")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    seed_everything(seed, verbose=False)
