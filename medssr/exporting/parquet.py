"""Rows as a parquet file that `datasets` reads back with the same types."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any


def write_parquet(path: Path, rows: Iterable[dict[str, Any]], features: Any) -> None:
    """Writes the rows, whole or not at all.

    Args:
        path: The file.
        rows: One dictionary each.
        features: Their types, of `datasets`; named, so that a column of nulls has the type that it has elsewhere.
    """
    import datasets

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    datasets.disable_progress_bars()
    datasets.Dataset.from_list(list(rows), features=features).to_parquet(str(temporary))
    temporary.replace(path)
