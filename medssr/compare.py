"""medssr-compare: one page from any set of runs."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from medssr.config import CompareConfig
from medssr.errors import InputError
from medssr.utils.entry import run_command

log = logging.getLogger(__name__)


def compare(config: CompareConfig) -> Path:
    """Returns the page that compares the runs; prints their tables.

    Raises:
        InputError: When a folder holds no run, or a file of a run is broken.
    """
    from rich.console import Console

    from medssr.evaluation.stored import RESULTS_FILE
    from medssr.tracking.paired_runs import pair_runs
    from medssr.tracking.report import console_table, write_report
    from medssr.tracking.runs import read_runs
    from medssr.tracking.score_tables import log_score_tables
    from medssr.tracking.tables import comparison_table

    found = [file.parent for run in config.runs for file in sorted(Path(run).glob(f"**/{RESULTS_FILE}"))]
    if not found:
        raise InputError(f"runs: no {RESULTS_FILE} at or below {config.runs}; give folders of finished runs.")
    runs = read_runs(dict.fromkeys(found))
    pairings = pair_runs(runs, config.num_examples)
    page = write_report(runs, Path(config.output_dir), pairings)
    if config.logger is not None:
        log_score_tables(config, runs, pairings, page.parent)
    console = Console()
    console.print(console_table(runs))
    if pairings.pairs or pairings.left_out:
        console.print(comparison_table(pairings))
    return page


def main() -> None:
    """Console entry point."""
    sys.argv[1:] = runs_as_override(sys.argv[1:])
    run_command("compare", lambda config: log.info("report: %s", compare(config)))


def runs_as_override(arguments: Sequence[str]) -> list[str]:
    """Returns the command line with the folders that it names as one override of `runs`.

    A folder of a sweep is named by its overrides, which no shell user wants to quote for Hydra.

    Example:
        >>> runs_as_override(["num_examples=1", "."])
        ['num_examples=1', 'runs=["."]']
    """
    folders = [argument for argument in arguments if Path(argument).is_dir()]
    rest = [argument for argument in arguments if argument not in folders]
    return [*rest, f"runs={json.dumps(folders, ensure_ascii=False)}"] if folders else rest


if __name__ == "__main__":
    main()
