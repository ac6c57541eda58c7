"""Commands in processes of their own, as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.fork_server import open_process

ROOT = Path(__file__).parents[2]


def start(command: str, *overrides: str, folder: Path, **options: Any) -> subprocess.Popen[str]:
    """Starts a command ("train" ...) in a folder, where it keeps its artefacts; by default both outputs are one.

    `options` are those of `subprocess.Popen`; its `env` is added to the environment.
    """
    environment = {
        "MEDSSR_ROOT": str(folder),
        "OMP_NUM_THREADS": "1",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
    }
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": folder}
    inherited = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}  # of the tests' process
    options = streams | options | {"env": inherited | environment | options.get("env", {})}
    return open_process([sys.executable, "-m", f"medssr.commands.{command}", *overrides], **options)


def run(command: str, *overrides: str, folder: Path, code: int = 0, **options: Any) -> tuple[str, str]:
    """Runs a command to its end, which has to be the exit code `code`; returns what it printed on both outputs."""
    process = start(command, *overrides, folder=folder, stderr=subprocess.PIPE, **options)
    stdout, stderr = process.communicate()
    assert process.returncode == code, stderr
    assert "Traceback" not in stdout + stderr
    return stdout, stderr


def run_program(program: str, folder: Path | None = None) -> str:
    """Runs lines of Python and returns what they print."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
