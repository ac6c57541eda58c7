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
        from medssr.tracking.study_runs import run_folders

        folder = Path(config.hydra.sweep.dir)
        found = run_folders([str(folder)])
        if not found:
            return
        from medssr.tracking.configurations import configuration_table
        from medssr.tracking.report import write_report
        from medssr.tracking.runs import read_runs

        runs = read_runs(found)
        configurations = configuration_table(runs) if len(runs) > 1 else None
        page = write_report(runs, folder / "report", configurations=configurations)
        log.info("report of %d runs: %s", len(found), page)
