"""medssr-compare: one page from any set of runs."""

from __future__ import annotations

import logging
from pathlib import Path

from medssr.config import CompareConfig
from medssr.errors import InputError
from medssr.utils.entry import run_command

log = logging.getLogger(__name__)


def compare(config: CompareConfig) -> Path:
    """Returns the page that compares the runs; prints their table.

    Raises:
        InputError: When a folder holds no run.
    """
    from rich.console import Console

    from medssr.tracking.report import console_table, write_report
    from medssr.tracking.runs import RESULTS_FILE, read_run

    folders = [found.parent for run in config.runs for found in sorted(Path(run).glob(f"**/{RESULTS_FILE}"))]
    if not folders:
        raise InputError(f"runs: no {RESULTS_FILE} at or below {config.runs}; give folders of finished runs.")
    runs = [read_run(folder) for folder in folders]
    page = write_report(runs, Path(config.output_dir))
    Console().print(console_table(runs))
    return page


def main() -> None:
    """Console entry point."""
    run_command("compare", lambda config: log.info("report: %s", compare(config)))


if __name__ == "__main__":
    main()
