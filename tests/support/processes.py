"""Command lines of two processes on a CPU, and what they leave behind."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

from support.fork_server import open_process

TRAIN = [sys.executable, "-m", "medssr.commands.train"]
TWO = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.devices=2"]
TWO_SHARDS = ["trainer=fsdp2", *TWO[1:]]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
# An engine that needs no forward pass of the model.
LETTERS = ["rollout._target_=support.helpers.LetterEngine", "~rollout.max_batch_size"]


def start_processes(command: list[str], folder: Path) -> subprocess.Popen[str]:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
        "PYTHONFAULTHANDLER": "1",
        "TORCH_GLOO_LAZY_INIT": "0",
    }
    pipe = subprocess.PIPE
    return open_process(command, stdout=pipe, stderr=pipe, text=True, env=environment, cwd=folder)


def metrics(artifact: Path) -> list[dict[str, float]]:
    """The rows of metrics.csv without the `time/` columns."""
    with (artifact / "metrics.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [
        {name: float(value) for name, value in row.items() if value and not name.startswith("time/")} for row in rows
    ]
