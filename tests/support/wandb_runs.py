"""Reads offline runs of W&B."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import wandb

from medssr.tracking.wandb_logger import offline_files, read_records


def records(directory: Path, kind: str) -> list[dict[str, Any]]:
    """The records of a kind in the folder's offline runs, oldest run first, as wandb reads them.

    Ends W&B's service, which may not have written the end of a file yet.
    """
    wandb.teardown()
    all_records = (record for file in offline_files(directory) for record in read_records(file))
    return [record[kind] for record in all_records if record["type"] == kind]
