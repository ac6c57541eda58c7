"""medssr slurm COMMAND ...: a batch script for SLURM that runs a command on one node, over several time limits."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medssr.cli.closed_output import ends_with_its_reader, show
from medssr.cli.entry import composed
from medssr.commands.doctor.command import command_of
from medssr.config.arrangements import VLLM_NODE_ENGINE
from medssr.config.trainer import devices_of
from medssr.errors import USER_FAULT, InputError

DESCRIPTION = """\
Print a batch script for SLURM that runs a command on one node:

  medssr slurm --time 12:00:00 train trainer=gpu rollout=vllm data.path=FILE.jsonl > job.sh && sbatch job.sh

One task for each device of the trainer. Before the time limit SLURM sends USR1, the command saves its state, and the
job is queued again, where it goes on. A sweep has hydra/launcher=slurm instead.
"""
# What a command ends with after USR1.
_SAVED = 128 + signal.SIGUSR1

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
    given, further = _parser().parse_known_args(list(arguments))
    if further:
        raise InputError(f"{further[0]}: no flag of medssr slurm. A sweep (-m) has hydra/launcher=slurm instead.")
    command, overrides = command_of(given.command)
    config = composed(command, overrides)
    num_tasks, num_gpus = devices(config, given.gpus)
    if num_tasks > 1 and config.force:
        raise InputError(
            "force: several processes started together cannot remake an artefact; delete its folder instead."
        )
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
    directives = [f"#SBATCH --{key}{'=' * bool(text)}{text}" for key, text in options.items() if text is not None]
    program = Path(sys.executable).with_name(f"medssr-{command.replace('_', '-')}")
    return _SCRIPT.format(
        directives="\n".join(directives),
        command=" \\\n    ".join(map(shlex.quote, [str(program), *overrides])),
        saved=_SAVED,
        max_restarts=given.max_restarts,
    ).rstrip()


def devices(config: Any, asked: int | None) -> tuple[int, int]:
    """Returns the number of tasks, one for each device of the trainer, and that of the GPUs of the node.

    Args:
        config: The command's configuration.
        asked: The number of GPUs that is asked for; None for those that the configuration names.

    Raises:
        InputError: When it leaves the number to the machine, or there are fewer than it names.
    """
    trainer, rollout = getattr(config, "trainer", None), getattr(config, "rollout", None) or {}
    on_gpu = trainer is not None and str(trainer["accelerator"]) in ("gpu", "cuda")
    trainers = devices_of(trainer) if trainer is not None else [0]
    if trainers is None:
        raise InputError("trainer.devices: means all of the machine; name the number, as trainer.devices=8.")
    needed = max(trainers) + 1 if on_gpu else 0  # they may be named by number
    if on_gpu and rollout.get("_target_") == VLLM_NODE_ENGINE:
        if rollout["num_servers"] is None:
            raise InputError("rollout.num_servers: means all GPUs that are left; name the number.")
        needed += int(rollout["num_servers"]) * int(rollout["tensor_parallel_size"])
    if asked is not None and asked < needed:
        raise InputError(f"--gpus: {asked}, but trainers and engines use {needed}.")
    return len(trainers), needed if asked is None else asked


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
