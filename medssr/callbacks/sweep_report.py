"""A Hydra callback: one report of all runs of a sweep, at its end."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback

log = logging.getLogger(__name__)


class SweepReport(Callback):
    """Writes `report/` into the sweep's folder when its runs have results to compare."""

    def on_multirun_end(self, config: Any, **kwargs: Any) -> None:
        """Compares the runs of the sweep."""
        folder = Path(config.hydra.sweep.dir)
        found = sorted(folder.glob("**/results.json"))
        if not found:
            return
        from medssr.tracking.report import write_report
        from medssr.tracking.runs import read_run

        page = write_report([read_run(file.parent) for file in found], folder / "report")
        log.info("report of %d runs: %s", len(found), page)
