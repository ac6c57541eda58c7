"""Logs metrics to one CSV file; a resumed run replaces the rows of the steps that it repeats."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from medssr.utils.files import open_atomically


class CSVMetrics(Logger):
    """One row a step in `metrics.csv`, columns in order of first appearance.

    Args:
        save_dir: Folder of the file.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__()
        self.path = Path(save_dir) / "metrics.csv"
        self._rows: dict[int, dict[str, Any]] = {}
        if self.path.is_file():
            with self.path.open(encoding="utf-8", newline="") as stream:
                self._rows = {int(row["step"]): row for row in csv.DictReader(stream)}

    @property
    def name(self) -> str:
        """The logger's name, which Lightning needs."""
        return "csv"

    @property
    def version(self) -> int:
        """The run's version, which Lightning needs."""
        return 0

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Does nothing: the manifest has the configuration."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Adds the metrics of a step and drops the rows of later steps, which a resumed run logs again."""
        assert step is not None
        values = {name: value for name, value in metrics.items() if name != "epoch"}
        self._rows = {number: row for number, row in self._rows.items() if number <= step}
        self._rows[step] = self._rows.get(step, {"step": step}) | values

    def rows(self) -> Iterator[tuple[int, dict[str, float]]]:
        """Yields each step with its metrics."""
        for step, row in self._rows.items():
            yield step, {name: float(value) for name, value in row.items() if name != "step" and value != ""}

    @rank_zero_only
    def write(self) -> None:
        """Writes the file atomically; called with every checkpoint, so that the two agree after an interruption."""
        columns = list(dict.fromkeys(name for row in self._rows.values() for name in row))
        with open_atomically(self.path) as stream:
            writer = csv.DictWriter(stream, columns or ["step"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows.values())

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Writes the file at the end of training."""
        self.write()
