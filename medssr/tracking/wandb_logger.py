"""Weights & Biases with one row a step, however often the run was interrupted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

_HEADER_BYTES = 7


class WandbMetrics(WandbLogger):
    """A WandbLogger whose steps are those of training, and which logs no step twice.

    A resumed run repeats the steps after its checkpoint. Online, W&B itself knows which it has. Without network each
    start writes a file of its own, `wandb sync` joins them, and a killed process leaves most of its rows unwritten: so
    the files are read, and `catch_up` fills the gap from `metrics.csv`.

    Args:
        save_dir: Folder of the run.
        arguments: Of WandbLogger.
    """

    def __init__(self, save_dir: str, **arguments: Any) -> None:
        super().__init__(save_dir=save_dir, **arguments)
        self._num_in_files = _num_steps_in_files(Path(save_dir))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs the metrics of a step, unless the run has them from before it was interrupted."""
        assert step is not None
        # The experiment's step is the next that W&B does not have, or that of the row which is being filled.
        if step >= max(self._num_in_files, self.experiment.step):
            self.experiment.log({**metrics, "trainer/global_step": step}, step=step)

    def catch_up(self, rows: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        """Logs those of the rows (step, metrics) that the run does not have."""
        for step, metrics in rows:
            self.log_metrics(metrics, step)


def _num_steps_in_files(directory: Path) -> int:
    """Returns the number of steps that the offline files in a folder hold, as wandb itself reads them.

    Each start begins with what the files before it lack: so the newest that holds a row holds the last. Their folders
    are named by the time.
    """
    for file in sorted(directory.glob("wandb/offline-run-*/*.wandb"), reverse=True):
        if file.stat().st_size <= _HEADER_BYTES:  # of a killed process, often
            continue
        reader = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
        # Of a file that is cut short, what comes before the cut is read, and synced.
        lines = subprocess.run(reader, capture_output=True, text=True, check=True).stdout.splitlines()
        rows = [record["history"] for record in map(json.loads, lines) if record["type"] == "history"]
        if rows:
            return 1 + max(int(row["item"]["_step"]) for row in rows)
    return 0
