"""How every command starts: compose, check, run, and tell a user's fault from a bug."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from medssr.config import ExtrasConfig, register
from medssr.config.complaints import complaint, disk_complaint, wrong_value
from medssr.config.flags import check_flags, without_info
from medssr.config.groups import Node
from medssr.config.help_text import help_text
from medssr.config.known import CONF_DIR
from medssr.errors import InputError
from medssr.utils.stopping import Stopped, catch_signals

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger(__name__)

Plan: TypeAlias = Callable[[Any, Mapping[str, str]], list[tuple[str, str]]]
Adapt: TypeAlias = "Callable[[DictConfig, Sequence[str]], DictConfig]"

USER_FAULT = 2
# Hydra's own: whoever sets it to 1 wants to see the traceback of a fault in configuration.
_FULL_ERROR = "HYDRA_FULL_ERROR"


def run_command(name: str, task: Callable[[Any], Any], adapt: Adapt | None = None, plan: Plan | None = None) -> None:
    """Runs a command: its configuration from `conf/<name>.yaml` and the command line, checked, then `task`.

    The process ends with code 2 and a message, not a traceback, for a fault in configuration or input; and with
    128 + its number for a signal.

    Args:
        name: The root configuration.
        task: Takes the typed configuration; what it returns is Hydra's objective value.
        adapt: Takes the composed configuration and what the command line sets, and returns the configuration to run.
        plan: Takes the typed configuration and the option of each group, and returns what `--info` prints.
    """
    if {"--help", "-h"} & set(sys.argv[1:]):
        print(help_text(name, plan is not None))
        return
    import hydra

    asks_for_plan, arguments = without_info(sys.argv[1:])
    overrides = _checked_flags(arguments if plan is not None else sys.argv[1:])
    register(name)
    if plan is not None and asks_for_plan:
        _print_plan(name, plan, arguments)
        return
    is_running = False

    @hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=name)
    def command(config: DictConfig) -> Any:
        nonlocal is_running
        is_running = True
        result = _run(task, config, adapt)
        is_running = False  # another job of a sweep may be composed
        return result

    wants_traceback = os.environ.get(_FULL_ERROR) == "1"
    try:
        with _raised_by_hydra():
            command()
    except SystemExit as end:
        sys.exit(USER_FAULT if end.code == 1 and not is_running else end.code)
    except Exception as error:
        message = None if is_running or wants_traceback else complaint(error, name, overrides)
        if message is None:
            raise
        _end_with(message)


def composed(name: str, overrides: Sequence[str], config_dir: str | None = None) -> tuple[Any, dict[str, str]]:
    """Returns a command's typed configuration and the option of each group, without running the command.

    Args:
        name: The root configuration.
        overrides: What a command line sets.
        config_dir: A further folder of options.

    Raises:
        InputError: When it cannot be composed, or a value is out of range.
    """
    import hydra
    from omegaconf import OmegaConf

    register(name)
    searched = [] if config_dir is None else [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"]
    try:
        with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            config = hydra.compose(name, [*overrides, *searched], return_hydra_config=True)
    except Exception as error:
        message = None if os.environ.get(_FULL_ERROR) == "1" else complaint(error, name, overrides)
        if message is None:
            raise
        raise InputError(message) from error
    choices = {group: str(option) for group, option in config.hydra.runtime.choices.items()}
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    return typed(config), choices


def _print_plan(name: str, plan: Plan, arguments: list[str]) -> None:
    """Prints what a command would do; nothing is run and nothing is written."""
    from hydra._internal.utils import get_args_parser

    flags = get_args_parser().parse_args(arguments)
    if flags.multirun:
        _end_with("--info: shows one run; give one value to each setting and leave -m out.")
    try:
        rows = plan(*composed(name, flags.overrides, flags.config_dir))
    except InputError as error:
        _end_with(str(error))
    width = max(len(what) for what, _ in rows)
    for what, text in rows:
        print(f"{what:{width}}  {text}")


def _checked_flags(arguments: list[str]) -> list[str]:
    """Returns what the command line sets; ends the process where a flag is none."""
    try:
        return check_flags(arguments)
    except InputError as error:
        _end_with(str(error))


def _end_with(message: str) -> NoReturn:
    sys.stderr.write(f"{message}\n")
    sys.exit(USER_FAULT)


@contextmanager
def _raised_by_hydra() -> Iterator[None]:
    """Has Hydra raise what goes wrong in the block, in place of printing it and ending the process."""
    before = os.environ.get(_FULL_ERROR)
    os.environ[_FULL_ERROR] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FULL_ERROR]
        else:
            os.environ[_FULL_ERROR] = before


def _run(task: Callable[[Any], Any], config: DictConfig, adapt: Adapt | None) -> Any:
    """Runs the task; what ends it early ends the process with a line that says why."""
    from hydra.core.hydra_config import HydraConfig

    def work() -> Any:
        return task(typed(config if adapt is None else adapt(config, HydraConfig.get().overrides.task)))

    try:
        with catch_signals():
            return _run_as_job(work, typed(config)) if _is_in_a_sweep() else work()
    except InputError as error:
        log.error("%s", error)
        sys.exit(USER_FAULT)
    except OSError as error:
        message = disk_complaint(error)
        if message is None:
            raise
        log.error("%s", message)
        sys.exit(USER_FAULT)
    except Stopped as stop:
        log.warning("ended by %s; the same command goes on from here", stop.signal_name)
        raise


def _is_in_a_sweep() -> bool:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    return HydraConfig.get().mode is RunMode.MULTIRUN


def _run_as_job(work: Callable[[], Any], config: Any) -> float | None:
    from hydra.core.hydra_config import HydraConfig

    from medssr.sweeps.gpus import take_gpu
    from medssr.sweeps.jobs import job_fingerprint, run_job

    hydra_config = HydraConfig.get()

    def begin() -> Any:
        if "joblib" in hydra_config.launcher["_target_"]:  # the one launcher that lets jobs share a machine
            take_gpu()
        return work()

    return run_job(Path(hydra_config.runtime.output_dir), job_fingerprint(config), config.force, begin)


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
        raise InputError(wrong_value(error)) from error


def check_device(trainer: Node) -> None:
    """Raises InputError where the trainer wants a GPU and there is none; before the model is loaded."""
    import torch

    device = str(trainer["accelerator"])
    if device in ("gpu", "cuda") and not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        raise InputError(
            f"trainer.accelerator: {device}, but torch finds no GPU here; trainer=cpu needs none. medssr-doctor says "
            "what the machine has."
        )


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
