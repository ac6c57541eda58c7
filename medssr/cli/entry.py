"""Starts every command: composes and checks its configuration, runs it, and tells a user's fault from a bug."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from medssr.cli.closed_output import NOBODY_READS, ends_with_its_reader, is_output_closed, show
from medssr.cli.disk_messages import disk_message, folders_in_use, path_fault
from medssr.cli.error_messages import error_message
from medssr.cli.help_text import composed_values, help_text
from medssr.cli.log_errors import let_log_lines_fail
from medssr.config import register
from medssr.config.catalog import CONF_DIR, as_addition, as_choice
from medssr.config.composition import typed
from medssr.config.local_paths import expand_home, with_local_paths
from medssr.errors import USER_FAULT, InputError, first_line
from medssr.utils import peers
from medssr.utils.disk_faults import disk_fault
from medssr.utils.interrupts import ended_by_exception
from medssr.utils.nearest import did_you_mean
from medssr.utils.peers import PeerLeft
from medssr.utils.processes import is_main_process
from medssr.utils.stopping import Stopped, catch_signals
from medssr.utils.torchmetrics_parts import import_torchmetrics_in_parts

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from medssr.sweeps.planning import PlannedJob

log = logging.getLogger(__name__)

Plan: TypeAlias = Callable[[Any], list[tuple[str, str]]]
SweepPlan: TypeAlias = "Callable[[Sequence[PlannedJob]], list[tuple[str, str]]]"
Adapt: TypeAlias = "Callable[[DictConfig, Sequence[str]], DictConfig]"

# Hydra's variable: set to 1 it shows the traceback of a fault in configuration.
_FULL_ERROR = "HYDRA_FULL_ERROR"
# Seconds in which the news arrives that a process is gone, after a collective call with it has failed.
_NEWS_S = 2.0


def run_command(
    name: str,
    task: Callable[[Any], Any],
    adapt: Adapt | None = None,
    plan: Plan | None = None,
    sweep_plan: SweepPlan | None = None,
) -> None:
    """Runs a command: its configuration from `conf/<name>.yaml` and the command line, checked, then `task`.

    The process ends with code 2 and a message, not a traceback, for a fault in configuration or input; with 128 + its
    number for a signal; and with 141 when nobody reads its output any more.

    Args:
        name: The root configuration.
        task: Takes the typed configuration; what it returns is Hydra's objective value.
        adapt: Takes the composed configuration and what the command line sets, and returns the configuration to run.
        plan: Takes the typed configuration and returns what `--info` prints.
        sweep_plan: Takes the jobs of a sweep and returns what `-m --info` prints; given with `plan`.
    """
    let_log_lines_fail()
    import_torchmetrics_in_parts()
    with ends_with_its_reader(), ended_by_exception():
        _run_command(name, task, adapt, plan, sweep_plan)


def _run_command(
    name: str, task: Callable[[Any], Any], adapt: Adapt | None, plan: Plan | None, sweep_plan: SweepPlan | None
) -> None:
    try:
        sys.argv[1:] = map(_readable, sys.argv[1:])
        if {"--help", "-h"} & set(sys.argv[1:]):
            show(help_text(name, plan is not None, _composed_help(name, without_info(sys.argv[1:])[1])))
            return
    except InputError as error:
        _end_with(str(error))
    import hydra

    asks_for_plan, arguments = without_info(sys.argv[1:])
    overrides = _checked_flags(arguments if plan is not None else sys.argv[1:])
    register(name)
    if plan is not None and asks_for_plan:
        assert sweep_plan is not None
        _print_plan(name, plan, sweep_plan, arguments)
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
        if is_output_closed(end):
            raise
        sys.exit(USER_FAULT if end.code == 1 and not is_running else end.code)
    except Exception as error:
        if is_running or wants_traceback:
            raise
        message = _disk_problem(error, name, overrides) or error_message(error, name, overrides)
        if message is None:
            raise
        _end_with(message)


def _disk_problem(error: Exception, name: str, overrides: Sequence[str]) -> str | None:
    """Returns what is wrong with a disk where Hydra could not write to the folder of a run or a sweep."""
    fault = disk_fault(error)
    if fault is None:
        return None
    try:
        config = _compose(name, overrides, return_hydra_config=True)
    except InputError:  # of a sweep, whose values are no single ones
        named = [word for word in overrides if re.match(r"paths\.|study=|task_name=", word)]
        config = _compose(name, named, return_hydra_config=True)
    return disk_message(fault, folders_in_use(config))


def composed(name: str, overrides: Sequence[str], config_dir: str | None = None, adapt: Adapt | None = None) -> Any:
    """Returns a command's typed configuration, without running the command; also in a command that runs.

    Args:
        name: The root configuration.
        overrides: What a command line sets.
        config_dir: A further folder of options.
        adapt: As in `run_command`.

    Raises:
        InputError: When it cannot be composed, or a value is out of range.
    """
    config = _compose(name, overrides, config_dir)
    return typed(config if adapt is None else adapt(with_local_paths(config), overrides))


def _compose(name: str, overrides: Sequence[str], config_dir: str | None = None, **arguments: Any) -> DictConfig:
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    register(name)
    is_started = GlobalHydra.instance().is_initialized()
    searched = [] if config_dir is None else [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"]
    try:
        with nullcontext() if is_started else hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            config = hydra.compose(name, [*map(_readable, overrides), *searched], **arguments)
    except Exception as error:
        message = None if os.environ.get(_FULL_ERROR) == "1" else error_message(error, name, overrides)
        if message is None:
            raise
        raise InputError(message) from error
    return config


def _composed_help(name: str, arguments: list[str]) -> tuple[dict[str, str | None], dict[str, Any]] | None:
    """Returns the options that a command line chooses, by group, and the values of all settings.

    Returns:
        None where it sets nothing, or several values for a sweep.
    """
    if not any("=" in argument for argument in arguments):
        return None
    from hydra._internal.utils import get_args_parser
    from omegaconf import open_dict

    flags, _ = get_args_parser().parse_known_args(arguments)
    if flags.multirun or not flags.overrides:
        return None
    config = _compose(name, flags.overrides, flags.config_dir, return_hydra_config=True)
    choices = {group: None if option == "null" else option for group, option in config.hydra.runtime.choices.items()}
    with open_dict(config):
        del config["hydra"]
    return choices, composed_values(config)


def _print_plan(name: str, plan: Plan, sweep_plan: SweepPlan, arguments: list[str]) -> None:
    """Prints what a command would do; nothing is run and nothing is written."""
    from hydra._internal.utils import get_args_parser

    flags = get_args_parser().parse_args(arguments)
    try:
        if flags.multirun:
            rows = sweep_plan(_planned_jobs(name, flags.overrides, flags.config_dir))
        else:
            rows = plan(composed(name, flags.overrides, flags.config_dir))
    except InputError as error:
        _end_with(str(error))
    width = max(len(what) for what, _ in rows)
    show("\n".join(f"{what:{width}}  {text}" for what, text in rows))


def _planned_jobs(name: str, overrides: Sequence[str], config_dir: str | None) -> list[PlannedJob]:
    from medssr.sweeps.planning import planned_jobs

    try:
        return planned_jobs(name, list(map(_readable, overrides)), config_dir)
    except InputError:
        raise
    except Exception as error:
        message = None if os.environ.get(_FULL_ERROR) == "1" else error_message(error, name, overrides)
        if message is None:
            raise
        raise InputError(message) from error


def _readable(override: str) -> str:
    """Returns a word of the command line as Hydra reads it."""
    return as_addition(as_choice(expand_home(override)))


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
    """Makes Hydra raise errors in the block; otherwise it prints them and ends the process."""
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

    def configured() -> Any:
        return typed(config if adapt is None else adapt(with_local_paths(config), HydraConfig.get().overrides.task))

    peers.end_with_launcher()
    try:
        with catch_signals():
            if _is_in_a_sweep():
                from medssr.sweeps.running import config_of_job

                given = config_of_job(Path(HydraConfig.get().runtime.output_dir), config)
                result = _run_as_job(lambda: task(given if adapt is None else configured()), given)
            else:
                result = task(configured())
    except BaseException as error:
        _end_early(error, config)
        raise
    peers.leave(0)
    return result


def _end_early(error: BaseException, config: DictConfig) -> None:
    """Ends the process with a line that says why, and tells the other processes of a training; returns for a bug."""
    if is_output_closed(error):
        peers.leave(NOBODY_READS)
        return
    cause = _cause(error)
    if isinstance(cause, PeerLeft):
        if to_tell := peers.message_to_show(cause):
            log.error("%s", to_tell)
        peers.leave(cause.code)
        sys.exit(cause.code)
    if isinstance(cause, InputError):
        _leave(USER_FAULT, str(cause))
    if isinstance(cause, Exception) and (fault := path_fault(cause)) is not None:
        _leave(USER_FAULT, disk_message(fault, folders_in_use(config)))
    if isinstance(cause, Stopped):
        if is_main_process():
            log.warning("ended by %s; the same command goes on from here", cause.signal_name)
        peers.leave(cause.code)
        raise cause
    if isinstance(cause, SystemExit) and isinstance(cause.code, int):
        peers.leave(cause.code)
    else:
        peers.leave(1, f"Another process ended by an error, {first_line(cause)}; its own output has the traceback.")


def _cause(error: BaseException) -> BaseException:
    """Returns why a process ends: what a collective call or a launcher raises may come of a process that has left."""
    if isinstance(error, InputError):
        return error
    left = peers.departure(_NEWS_S if isinstance(error, Exception) else 0.0)
    if left is None or (left.code > 128 and isinstance(error, Stopped)):
        return error
    return Stopped(left.code - 128) if left.code > 128 else left


def _leave(code: int, message: str) -> NoReturn:
    """Ends the process; of several processes, one shows the message."""
    is_shown = peers.leave(code, message)
    if message and not is_shown:
        log.error("%s", message)
    sys.exit(code)


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

    return run_job(Path(hydra_config.runtime.output_dir), job_fingerprint(config), config.force or config.verify, begin)


# The words after --info that Hydra answers itself.
_HYDRAS_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")


def without_info(arguments: Sequence[str]) -> tuple[bool, list[str]]:
    """Returns whether a command line asks what would run (`--info` alone), and the rest of it.

    `--info defaults` and the like are Hydra's own.

    Example:
        >>> without_info(["grpo=large", "--info"]), without_info(["--info", "defaults"])
        ((True, ['grpo=large']), (False, ['--info', 'defaults']))
    """
    words = list(arguments)
    if "--info" not in words:
        return False, words
    index = words.index("--info")
    is_hydras = index + 1 < len(words) and words[index + 1] in _HYDRAS_INFO
    return not is_hydras, words if is_hydras else words[:index] + words[index + 1 :]


def check_flags(arguments: Sequence[str]) -> list[str]:
    """Returns the settings of a command line.

    Raises:
        InputError: When a flag is none of Hydra's, or a flag stands between settings.
    """
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    parsed, rest = parser.parse_known_args(list(arguments))
    flags = [flag for action in parser._actions for flag in action.option_strings]
    for word in rest:
        if not word.startswith("-"):
            raise InputError(f"{word}: a flag such as -m stands before it, between settings; put flags first or last.")
        if "=" in word or word.startswith("--"):
            name, _, value = word.lstrip("-").partition("=")
            key = name.replace("-", "_")
            hint = did_you_mean(f"--{name}", [flag for flag in flags if flag.startswith("--")])
            advice = hint or f" Settings are given without dashes: {key}={value or 'VALUE'}."
            raise InputError(f"{word}: there is no such flag.{advice}")
        raise InputError(f"{word}: there is no such flag. Settings are given without dashes, as key=value.")
    overrides: list[str] = parsed.overrides
    return overrides
