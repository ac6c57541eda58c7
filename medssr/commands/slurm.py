"""medssr slurm COMMAND ...: a batch script for SLURM that runs a command on one node, over several time limits."""

from __future__ import annotations

import argparse
import re
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medssr.cli.closed_output import ends_with_its_reader, show
from medssr.cli.entry import composed
from medssr.commands.checkpoint_settings import ADAPT_BY_COMMAND
from medssr.commands.compare import runs_as_override
from medssr.commands.doctor.command import command_of
from medssr.config.arrangements import VLLM_ENGINE, VLLM_NODE_ENGINE, VLLM_SERVER_ENGINE
from medssr.config.trainer import devices_of
from medssr.errors import USER_FAULT, InputError, require

DESCRIPTION = """\
Print a batch script for SLURM that runs a command on one node:

  medssr slurm --time 12:00:00 train trainer=gpu rollout=vllm data.path=FILE.jsonl > job.sh && sbatch job.sh

One task for each device of the trainer. Before the time limit SLURM sends USR1, the command saves its state, and the
job is queued again, where it goes on. A sweep has hydra/launcher=slurm instead.
"""
# What a command ends with after USR1.
_SAVED = 128 + signal.SIGUSR1
# A time limit: [DAYS-]NUMBER[:NUMBER[:NUMBER]].
_LIMIT = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", re.ASCII)
# Encoders of a retriever, which use a GPU where there is one.
_TAKES_WHAT_IS_THERE = tuple(f"medssr.knowledge.retrieval.{name}" for name in ("DenseRetriever", "RerankRetriever"))
# The engine whose GPUs are those of servers that somebody else has started.
_ELSEWHERE = VLLM_SERVER_ENGINE

_SCRIPT = """\
#!/bin/bash
{directives}
set -u

export OMP_NUM_THREADS="$SLURM_CPUS_PER_TASK"
srun --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" \\
    {command}
code=$?

# {saved}: USR1 came before the time limit, and the state is saved. The job goes on in the queue.
if [ "$code" -eq {saved} ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {max_restarts} ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


def main() -> None:
    """Console entry point."""
    with ends_with_its_reader():
        try:
            show(script(sys.argv[1:]))
        except InputError as error:
            sys.stderr.write(f"{error}\n")
            sys.exit(USER_FAULT)


def script(arguments: Sequence[str]) -> str:
    """Returns the script for a command line.

    Raises:
        InputError: When there is no such command, its configuration is refused, or the number of GPUs is not known.
    """
    given, further = _parser().parse_known_intermixed_args(list(arguments))
    if further:
        raise InputError(f"{further[0]}: no flag of medssr slurm. A sweep (-m) has hydra/launcher=slurm instead.")
    command, overrides = command_of(given.command)
    if command == "compare":
        overrides = runs_as_override(overrides)
    config = composed(command, overrides, adapt=ADAPT_BY_COMMAND.get(command))
    _check_flags(given)
    num_tasks, num_gpus = devices(config, given.gpus)
    if num_tasks > 1 and config.force:
        raise InputError(
            "force: several processes started together cannot remake an artefact; delete its folder instead."
        )
    program = Path(sys.executable).with_name(f"medssr-{command.replace('_', '-')}")
    return _SCRIPT.format(
        directives="\n".join(_directives(given, command, num_tasks, num_gpus)),
        command=" \\\n    ".join(map(shlex.quote, [str(program), *overrides])),
        saved=_SAVED,
        max_restarts=given.max_restarts,
    ).rstrip()


def _directives(given: argparse.Namespace, command: str, num_tasks: int, num_gpus: int) -> Iterator[str]:
    """Yields the lines that SLURM reads, with quotes where a shell needs them, as SLURM has it."""
    name = given.name or f"medssr-{command.replace('_', '-')}"
    options = {
        "job-name": name,
        "nodes": "1",
        "ntasks-per-node": str(num_tasks),
        "cpus-per-task": str(given.cpus),
        "gpus-per-node": str(num_gpus) if num_gpus else None,
        "mem": given.mem,
        "time": given.time,
        "partition": given.partition,
        "account": given.account,
        "signal": f"USR1@{given.save_before}",
        "requeue": "",
        "output": given.output or f"{name}-%j.log",
        "open-mode": "append",
    }
    for key, text in options.items():
        if text is not None:
            if not text.isprintable():  # a line break would end the comment, and begin a command
                raise InputError(f"--{key}: {text!r}; give it without line breaks and control characters.")
            yield f"#SBATCH --{key}{'=' * bool(text)}{shlex.quote(text) if text else ''}"


def _check_flags(given: argparse.Namespace) -> None:
    """Raises InputError for numbers out of range, and for a limit that leaves no time to save the state."""
    for flag, least in (("cpus", 1), ("gpus", 0), ("save_before", 1), ("max_restarts", 0)):
        number = getattr(given, flag)
        expected = f"at least {least}."
        require(number is None or number >= least, f"--{flag.replace('_', '-')}", f"{number}; {expected}")
    limit = seconds_of(given.time)
    problem = f"{given.time}, but --save-before asks for {given.save_before} seconds of it; give a longer limit."
    require(limit is None or limit > given.save_before, "--time", problem)


def seconds_of(limit: str) -> int | None:
    """Returns a time limit of SLURM in seconds; None where there is none.

    Raises:
        InputError: When it is not written as SLURM has it.

    Example:
        >>> [seconds_of(text) for text in ("90", "90:30", "12:00:00", "2-12", "1-00:30", "1-0:0:5", "UNLIMITED")]
        [5400, 5430, 43200, 216000, 88200, 86405, None]
    """
    if limit.upper() in ("UNLIMITED", "INFINITE"):
        return None
    match = _LIMIT.fullmatch(limit)
    if match is None:
        raise InputError(f"--time: {limit}; expected MINUTES, HOURS:MINUTES:SECONDS or DAYS-HOURS:MINUTES:SECONDS.")
    days, first, second, third = (None if part is None else int(part) for part in match.groups())
    if days is not None:
        return ((days * 24 + (first or 0)) * 60 + (second or 0)) * 60 + (third or 0)
    if third is not None:
        return ((first or 0) * 60 + (second or 0)) * 60 + third
    return (first or 0) * 60 + (second or 0)


def devices(config: Any, asked: int | None) -> tuple[int, int]:
    """Returns the number of tasks, one for each device of the trainer, and that of the GPUs of the node.

    Args:
        config: The command's configuration.
        asked: The number of GPUs that is asked for; None for those that the configuration names.

    Raises:
        InputError: When it leaves the number to the machine, or there are fewer than it names.
    """
    trainer = getattr(config, "trainer", None)
    if trainer is None:
        return 1, _gpus_of_engines(asdict(config), asked)
    trainers = devices_of(trainer)
    if trainers is None:
        raise InputError("trainer.devices: means all of the machine; name the number, as trainer.devices=8.")
    on_gpu = str(trainer["accelerator"]) in ("gpu", "cuda")
    needed = max(trainers) + 1 if on_gpu else 0  # they may be named by number
    rollout = getattr(config, "rollout", None) or {}
    if on_gpu and rollout.get("_target_") == VLLM_NODE_ENGINE:
        if rollout["num_servers"] is None:
            raise InputError("rollout.num_servers: means all GPUs that are left; name the number.")
        needed += _gpus_of_servers(rollout)
    _check_asked(asked, needed)
    return len(trainers), needed if asked is None else asked


def _gpus_of_engines(config: Mapping[str, Any], asked: int | None) -> int:
    """Returns the GPUs of a command without a trainer, which are those of its engines, one after the other.

    Raises:
        InputError: When an engine takes what the machine has, and no number is asked for; or fewer are asked for.
    """
    needed = 0
    for key, node in _instantiated("", config):
        target = node["_target_"]
        if target == VLLM_NODE_ENGINE and node["num_servers"] is not None:
            needed = max(needed, 1, _gpus_of_servers(node))
        elif target == VLLM_ENGINE:
            needed = max(needed, 1)
        elif asked is None and (target in _TAKES_WHAT_IS_THERE or (key.endswith("rollout") and target != _ELSEWHERE)):
            problem = f"{key} uses the GPUs that there are; give --gpus 1 or more, or --gpus 0 to compute on CPUs."
            raise InputError(f"--gpus: {problem}")
    if asked != 0:  # on CPUs all engines run, if slowly
        _check_asked(asked, needed)
    return needed if asked is None else asked


def _instantiated(key: str, node: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields the parts of a configuration that name a class, with their keys."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield key, node
        for name, value in node.items():
            yield from _instantiated(f"{key}.{name}".lstrip("."), value)


def _gpus_of_servers(rollout: Mapping[str, Any]) -> int:
    return int(rollout["num_servers"]) * int(rollout["tensor_parallel_size"])


def _check_asked(asked: int | None, needed: int) -> None:
    if asked is not None and asked < needed:
        raise InputError(f"--gpus: {asked}, but trainers and engines use {needed}.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="medssr slurm",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="a command and its settings")
    parser.add_argument("--time", default="24:00:00", help="time limit, as SLURM writes it (24:00:00)")
    parser.add_argument("--gpus", type=int, help="GPUs of the node; by default those that trainers and engines use")
    parser.add_argument("--cpus", type=int, default=8, help="CPU cores of each task (8)")
    parser.add_argument("--mem", help="memory of the node, such as 200G")
    parser.add_argument("--partition", help="partition of the cluster")
    parser.add_argument("--account", help="account that pays")
    parser.add_argument("--name", help="name of the job")
    parser.add_argument("--output", help="log file; %%j is the number of the job")
    parser.add_argument(
        "--save-before", type=int, default=300, help="seconds before the limit at which USR1 comes (300)"
    )
    parser.add_argument("--max-restarts", type=int, default=20, help="the most times that the job is queued again (20)")
    return parser


if __name__ == "__main__":
    main()
