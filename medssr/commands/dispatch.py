"""medssr COMMAND ...: one name in front of all commands."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from medssr.cli.closed_output import ends_with_its_reader, show
from medssr.errors import USER_FAULT
from medssr.utils.nearest import did_you_mean

# What each command does, by its name and the module with its `main`, in the order of the help.
_METHOD = {
    "pipeline": ("pipeline", "run the whole method, from facts to a report"),
    "synthesize": ("synthesize", "write new questions, a fraction of them about rare diseases"),
    "pseudo-label": ("pseudo_label", "label questions by majority vote over the policy's answers"),
    "train": ("train", "one stage of GRPO on labelled questions"),
    "sft": ("sft", "supervised fine-tuning on demonstrations"),
    "evaluate": ("evaluate", "score a model on benchmarks"),
    "compare": ("compare", "compare finished runs: tables, tests, figures, a page"),
}
_BESIDE = {
    "audit": ("audit", "how many synthetic questions are wrong: a judge model and experts' sheets"),
    "retrieve": ("retrieve", "measure a retriever on judged questions"),
    "export": ("export", "write a training for verl, TRL and verifiers, benchmarks for lm-eval and inspect-ai"),
    "dashboard": ("dashboard", "a study's workspace and report in Weights & Biases"),
}
_UPKEEP = {
    "doctor": ("doctor.command", "check whether this machine can run a command"),
    "slurm": ("slurm", "print a batch script for SLURM that runs a command on one node"),
    "watch": ("watch.command", "the report of a run or sweep under way, in a browser on this machine"),
    "list": ("store.listing", "list artefacts and runs"),
    "show": ("store.showing", "show an artefact: what it was made from, settings, first records"),
    "push": ("store.pushing", "show what of a model or question set would go to the hub, and upload it"),
    "clean": ("store.cleaning", "find what nothing refers to, and delete it"),
}
COMMANDS = _METHOD | _BESIDE | _UPKEEP


def help_text() -> str:
    """Returns what `medssr --help` prints."""
    lines = ["medssr COMMAND ...", "", "  COMMAND --help   what it does and takes", "  --version        the version"]
    for title, commands in (("The method", _METHOD), ("Beside it", _BESIDE), ("Upkeep", _UPKEEP)):
        lines += ["", f"{title}:", *(f"  {name:13} {text}" for name, (_, text) in commands.items())]
    return "\n".join([*lines, "", "medssr train ... is the same as medssr-train ..."])


def main() -> None:
    """Console entry point."""
    with ends_with_its_reader():
        _dispatch(sys.argv[1:])


def _dispatch(arguments: Sequence[str]) -> None:
    command, *rest = arguments or ["--help"]
    if command in ("--help", "-h"):
        show(help_text())
        return
    if command == "--version":
        show(f"medssr {importlib.metadata.version('medssr')}")
        return
    name = command.removeprefix("medssr-").replace("_", "-")
    if name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS)
        sys.stderr.write(f"{command}: there is no such command.{hint} medssr --help lists them.\n")
        sys.exit(USER_FAULT)
    if (script := _script(f"medssr-{name}")) is not None:
        os.execv(script, [str(script), *rest])  # trainers that start processes of their own start this program again
    sys.argv = [f"medssr-{name}", *rest]
    import_module(f"medssr.commands.{COMMANDS[name][0]}").main()


def _script(name: str) -> Path | None:
    """Returns the command's own program, beside this one or beside Python; None if it has none."""
    folders = (Path(sys.argv[0]).parent, Path(sys.executable).parent)
    return next((folder / name for folder in folders if os.access(folder / name, os.X_OK)), None)


if __name__ == "__main__":
    main()
