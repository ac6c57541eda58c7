"""medssr-doctor: check whether this machine can run a command, and suggest changes."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from medssr.cli.closed_output import ends_with_its_reader
from medssr.cli.entry import composed
from medssr.commands.checkpoint_settings import ADAPT_BY_COMMAND
from medssr.commands.doctor.artifacts import check_artifacts
from medssr.commands.doctor.findings import Finding, State, run_check
from medssr.commands.doctor.machine import (
    available_memory,
    check_disk,
    check_gpus,
    check_memory,
    check_packages,
    check_processes,
    check_python,
    check_threads,
    check_writing,
)
from medssr.commands.doctor.services import check_files, check_hub, check_keys, check_servers, check_vllm, check_wandb
from medssr.commands.info import memory_needed
from medssr.config import SCHEMAS, PipelineConfig, TrainConfig
from medssr.config.trainer import devices_of
from medssr.errors import USER_FAULT, InputError
from medssr.models.architecture import architecture_of
from medssr.utils.console import table_console
from medssr.utils.nearest import did_you_mean

HELP = """\
medssr-doctor: check whether this machine can run a command, and suggest changes.

  medssr-doctor                              checks the machine for medssr-pipeline with its defaults
  medssr-doctor COMMAND SETTINGS...          checks it for a command: put medssr-doctor in front of its line, as in
  medssr-doctor medssr-train model=qwen3_8b_base trainer=gpu rollout=vllm grpo=large data.path=FILE.jsonl
  medssr-doctor artifacts                    reads all finished artefacts and compares them with what was made
  medssr-doctor --measure                    measures how fast this machine computes, for the times that --info predicts

It checks Python, packages, GPUs, memory, disk, folders, files, processes, threads, keys, W&B, the model and vLLM.
The exit code is 1 if something that the command needs is missing or an artefact is damaged, and 2 if the command line
is wrong. It changes nothing, and sends only the model's name to the hub. `artifacts` takes paths.artifact_dir=FOLDER
and paths.artifact_stores=[FOLDER,...]. `--measure` needs 15 seconds, takes paths.artifact_dir=FOLDER and
extras.num_threads=N, and writes hardware.json in that folder: the speed of the first GPU, or of the CPU without one.
"""
_MARKS = {State.fine: "[green]fine[/]", State.advice: "[yellow]advice[/]", State.lacking: "[red]lacking[/]"}
# In place of a command: checks what was made.
_ARTIFACTS = "artifacts"
# In place of a command: measures the machine.
_MEASURE = "--measure"
# Weights in float32 and AdamW's two averages. The newest two checkpoints are kept while the next is written.
_CHECKPOINT_BYTES_PER_WEIGHT = 12
_NUM_CHECKPOINTS = 3


def findings(typed: Any) -> list[Finding]:
    """Returns the results of all checks for a command.

    Args:
        typed: The command's configuration.
    """
    config = asdict(typed)
    paths, extras = config["paths"], config["extras"]
    trainer, model = config.get("trainer") or {}, config.get("model")
    device = str(trainer.get("accelerator", "auto"))
    needed = memory_needed(typed) if isinstance(typed, TrainConfig | PipelineConfig) else None
    is_on_gpu = device in ("gpu", "cuda")
    checks: dict[str, Callable[[], Finding]] = {
        "Python": lambda: check_python(sys.version_info[:3]),
        "packages": lambda: check_packages(importlib.metadata.requires("medssr") or []),
        "GPU": partial(check_gpus, is_on_gpu, (devices_of(trainer) if trainer else None) or [], needed),
        "memory": lambda: check_memory(available_memory(), None if is_on_gpu else needed),
        "disk": partial(check_disk, Path(paths["artifact_dir"]), _checkpoint_bytes(config)),
        "folder": partial(check_writing, Path(paths["artifact_dir"])),
        "runs": partial(check_writing, Path(paths["log_dir"])),
        "processes": check_processes,
        "threads": lambda: check_threads(extras["num_threads"], os.environ.get("OMP_NUM_THREADS"), _num_cores()),
        "W&B": lambda: check_wandb((config.get("logger") or {}).get("wandb")),
        "vLLM": lambda: check_vllm(any(_needs_vllm(target) for target in _targets(config))),
    }
    results = [run_check(subject, check) for subject, check in checks.items()]
    if model:
        results.append(run_check("model", partial(check_hub, model["path"], model["revision"])))
    servers = (config.get("rollout") or {}).get("addresses") or []
    return [*results, *check_servers(servers), *check_keys(config), *check_files(config)]


def _needs_vllm(target: str) -> bool:
    """Returns whether a class runs vLLM on this machine."""
    return ".vllm_engine." in target or ".vllm_node_engine." in target


def _targets(node: Any) -> Iterator[str]:
    """Yields the names of all classes (`_target_`) in a configuration."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield str(node["_target_"])
        for value in node.values():
            yield from _targets(value)


def _checkpoint_bytes(config: Mapping[str, Any]) -> int | None:
    """Returns the bytes of a training's checkpoints; None if nothing is trained or the model is unknown."""
    if not config.get("trainer"):
        return None
    architecture = architecture_of(config["model"]["path"], config["model"].get("hub_config"))
    if architecture is None:
        return None
    if config.get("lora") is not None:
        return 2 * architecture.num_parameters  # the merged model; the adapters are small
    return _CHECKPOINT_BYTES_PER_WEIGHT * _NUM_CHECKPOINTS * architecture.num_parameters


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def command_of(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Returns the root configuration of the command to check, and its settings.

    Raises:
        InputError: When the first word is neither a command nor a setting.

    Example:
        >>> command_of(["medssr-train", "grpo=large"]), command_of([])
        (('train', ['grpo=large']), ('pipeline', []))
    """
    if not arguments or "=" in arguments[0]:
        return "pipeline", list(arguments)
    commands = {f"medssr-{name.replace('_', '-')}": name for name in SCHEMAS}
    word = arguments[0] if arguments[0].startswith("medssr-") else f"medssr-{arguments[0]}"
    if word not in commands:
        expected = ", ".join(commands)
        problem = f"there is no such command; expected one of {expected}.{did_you_mean(word, commands)}"
        raise InputError(f"{arguments[0]}: {problem}")
    return commands[word], list(arguments[1:])


def _print(results: list[Finding]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("what", "state", "found", "what to change", show_lines=False)
    for result in results:
        table.add_row(result.subject, _MARKS[result.state], escape(result.observation), escape(result.remedy))
    table_console().print(table)


def _check_artifacts(overrides: Sequence[str]) -> NoReturn:
    """Prints which artefacts are damaged, and ends the process."""
    paths = composed("pipeline", overrides).paths
    results = list(check_artifacts(Path(paths.artifact_dir), [Path(store) for store in paths.artifact_stores]))
    _print(results)
    num_damaged = sum(result.state is State.lacking for result in results)
    print(f"artefacts: {num_damaged} damaged" if num_damaged else "artefacts: none is damaged")
    sys.exit(1 if num_damaged else 0)


def _measure(overrides: Sequence[str]) -> None:
    """Measures this machine, and writes and prints what it found."""
    from medssr.commands.doctor.measure import measure_hardware
    from medssr.models.hardware import write_hardware

    config = composed("pipeline", overrides)
    if config.extras.num_threads is not None:
        import torch

        torch.set_num_threads(config.extras.num_threads)
    hardware = measure_hardware()
    file = write_hardware(hardware, Path(config.paths.artifact_dir))
    print(
        f"{hardware.name}: matrix products {hardware.float32_flops / 1e12:.3g} TFLOP/s in float32 and "
        f"{hardware.bfloat16_flops / 1e12:.3g} in bfloat16, memory {hardware.bytes_per_second / 1e9:.3g} GB/s\n"
        f"wrote {file}, which --info reads"
    )


def main() -> None:
    """Console entry point."""
    with ends_with_its_reader():
        _main()


def _main() -> None:
    if {"--help", "-h"} & set(sys.argv[1:]):
        print(HELP, end="")
        return
    try:
        if sys.argv[1:2] == [_ARTIFACTS]:
            _check_artifacts(sys.argv[2:])
        if sys.argv[1:2] == [_MEASURE]:
            _measure(sys.argv[2:])
            return
        command, overrides = command_of(sys.argv[1:])
        config = composed(command, overrides, adapt=ADAPT_BY_COMMAND.get(command))
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(USER_FAULT)
    results = findings(config)
    _print(results)
    num_lacking = sum(result.state is State.lacking for result in results)
    typed_command = f"medssr-{command.replace('_', '-')}"
    print(f"{typed_command}: {num_lacking} lacking" if num_lacking else f"{typed_command} can run here")
    sys.exit(1 if num_lacking else 0)


if __name__ == "__main__":
    main()
