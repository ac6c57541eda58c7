"""What wandb kept of runs without network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import wandb

from medssr.tracking.wandb_logger import offline_files, read_records


def records(directory: Path, kind: str) -> list[dict[str, Any]]:
    """The records of a kind in the folder's offline runs, oldest run first, as wandb itself reads them.

    Ends W&B's service: as long as it lives, the end of a file may still be on its way to the disk.
    """
    wandb.teardown()
    found = (record for file in offline_files(directory) for record in read_records(file))
    return [record[kind] for record in found if record["type"] == kind]
