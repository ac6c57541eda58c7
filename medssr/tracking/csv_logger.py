"""Logs metrics to one CSV file; a resumed run replaces the rows of the steps that it repeats."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from medssr.errors import InputError
from medssr.utils.files import open_atomically
from medssr.utils.text_files import read_text

log = logging.getLogger(__name__)

_REMEDY = "Put a good copy in place, or delete the file; the curve then begins where the training resumes."


class CSVMetrics(Logger):
    """One row a step in `metrics.csv`, columns in order of first appearance.

    Args:
        save_dir: Folder of the file.

    Raises:
        InputError: When the file is damaged.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__()
        self.path = Path(save_dir) / "metrics.csv"
        self._rows: dict[int, dict[str, Any]] = _read_rows(self.path) if self.path.is_file() else {}
        self._last_read = max(self._rows, default=None)  # until the first step is logged

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
        if self._last_read is not None and step > self._last_read + 1:
            message = "%s: holds nothing between step %d and step %d, where training resumes; were lines lost?"
            log.warning(message, self.path, self._last_read, step)
        self._last_read = None
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


def _read_rows(path: Path) -> dict[int, dict[str, Any]]:
    """Returns the rows of a file of metrics by their steps.

    Raises:
        InputError: When the file is cut or no table of metrics. The message names the line and what to do.
    """
    lines = read_text(path, may_be_legacy=False).content.splitlines(keepends=True)
    if not lines or not lines[-1].endswith("\n"):
        problem = f"is cut: it {'ends within a line' if lines else 'is empty'}. {_REMEDY}"
        raise InputError.at(path, problem, line=len(lines) or None)
    reader = csv.reader(lines)
    columns = next(reader)
    if columns[:1] != ["step"]:
        raise InputError.at(path, f"found {columns!r:.60}, expected the columns of metrics. {_REMEDY}", line=1)
    rows: dict[int, dict[str, Any]] = {}
    for number, cells in enumerate(reader, start=2):
        row = dict(zip(columns, cells, strict=False))
        if len(cells) != len(columns) or not all(map(_is_number, (cell for cell in cells if cell))):
            problem = f"found {','.join(cells)!r:.60}, expected {len(columns)} numbers. {_REMEDY}"
            raise InputError.at(path, problem, line=number)
        if not cells[0].isdecimal():
            raise InputError.at(path, f"found {cells[0]!r:.60}, expected a step. {_REMEDY}", line=number, field="step")
        rows[int(cells[0])] = row
    return rows


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
