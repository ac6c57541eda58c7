"""What wandb kept of runs without network."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medssr.tracking.wandb_files import read_records


def records(directory: Path, kind: str) -> list[dict[str, Any]]:
    """The records of a kind in the folder's offline runs, oldest run first, as wandb itself reads them."""
    return [record[kind] for record in _all_records(directory) if record["type"] == kind]


def _all_records(directory: Path) -> Iterator[dict[str, Any]]:
    for file in sorted(directory.glob("wandb/offline-run-*/*.wandb")):
        # Read before its size is looked at: wandb's service writes a little after a run is finished.
        try:
            yield from read_records(file)
        except subprocess.CalledProcessError:
            assert file.stat().st_size <= 7, f"{file}: more than a header, as a killed process leaves it"
