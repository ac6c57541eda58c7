"""What W&B keeps of runs without network, by its own reader."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_HEADER_BYTES = 7


def offline_files(directory: Path) -> list[Path]:
    """Returns the offline files of a run's folder that hold anything, the oldest first: folders are named by time."""
    files = sorted(directory.glob("wandb/offline-run-*/*.wandb"))
    return [file for file in files if file.stat().st_size > _HEADER_BYTES]  # of a killed process, often less


def read_records(file: Path) -> Iterator[dict[str, Any]]:
    """Yields the records of an offline file; of one that is cut short, those before the cut, which W&B syncs too.

    Raises:
        CalledProcessError: When wandb cannot read it.
    """
    reader = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    lines = subprocess.run(reader, capture_output=True, text=True, check=True).stdout.splitlines()
    yield from map(json.loads, lines)


def num_logged_steps(files: Sequence[Path]) -> int:
    """Returns the number of steps that the offline files of a run hold, the oldest first.

    Each start begins with what the files before it lack: so the newest that holds a row holds the last.
    """
    for file in reversed(files):
        rows = [record["history"] for record in read_records(file) if record["type"] == "history"]
        if rows:
            return 1 + max(int(row["item"]["_step"]) for row in rows)
    return 0
