"""Commands with several trainers on this machine's CPU, as Lightning or torchrun starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.limited import LimitedProcess

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]


def trainers(strategy: str | None) -> list[str]:
    """The overrides for two trainers with a strategy (`trainer=`); None for one trainer."""
    if strategy is None:
        return ["trainer=cpu"]
    return [f"trainer={strategy}", "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.devices=2"]


def start(command: str, *overrides: str, folder: Path, launcher: list[str] | None = None) -> subprocess.Popen[str]:
    """Starts a command ("train" ...) in a folder, where it keeps its artefacts, in a group of processes of its own.

    `launcher` comes before the command, such as TORCHRUN. Both outputs are one.
    """
    folder.mkdir(exist_ok=True)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "MEDSSR_ROOT": str(folder),
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
        "PYTHONFAULTHANDLER": "1",
        "TORCH_GLOO_LAZY_INIT": "0",
    }
    always = ["logger=csv", "extras.progress_bar=false", "extras.num_threads=1"]
    return LimitedProcess(
        [*(launcher or []), sys.executable, "-m", f"medssr.commands.{command}", *always, *overrides],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> Path:
    """Waits for a command, which has to succeed; returns the folder of its artefact."""
    output, _ = process.communicate()
    assert process.returncode == 0, output[-6000:]
    (made,) = {line.removeprefix("made ") for line in output.splitlines() if line.startswith("made ")}
    return Path(made).parent
