"""medssr-compare: one page from any set of runs."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medssr.cli.entry import run_command
from medssr.config import CompareConfig
from medssr.errors import InputError

if TYPE_CHECKING:
    from medssr.reports.paired_runs import LeftOut
    from medssr.reports.runs import Run

log = logging.getLogger(__name__)

_MOST_RUNS_IN_TERMINAL = 12  # with more, each by itself is on the page alone


def compare(config: CompareConfig) -> Path:
    """Returns the page that compares the runs; prints their tables.

    Raises:
        InputError: When a folder holds no run, or a file of a run is broken.
    """
    from rich.console import Console

    from medssr.reports.configuration_table import configuration_table
    from medssr.reports.paired_runs import Pairings, pair_runs
    from medssr.reports.report import console_configurations, console_table, write_report
    from medssr.reports.score_tables import log_score_tables
    from medssr.reports.tables import comparison_table

    runs, left_out = _runs(config)
    configurations = configuration_table(runs, config.baseline) if len(runs) > 1 else None
    if configurations is not None:
        # What the others are compared with comes first.
        first = [each for each in configurations.configurations if each.name == configurations.baseline]
        runs = [*first[0].runs, *(run for run in runs if run not in first[0].runs)]
    paired = pair_runs(runs, config.num_examples)
    pairings = Pairings(paired.pairs, [*left_out, *paired.left_out])
    page = write_report(runs, Path(config.output_dir), pairings, configurations)
    if config.logger is not None:
        log_score_tables(config, runs, pairings, page.parent)
    console = Console()
    if configurations is not None:
        console.print(console_configurations(configurations))
    if len(runs) <= _MOST_RUNS_IN_TERMINAL:
        console.print(console_table(runs))
        console.print(comparison_table(pairings))
    else:
        console.print(comparison_table(Pairings([], pairings.left_out)))
    return page


def _runs(config: CompareConfig) -> tuple[list[Run], list[LeftOut]]:
    """Returns the runs to compare, and what was found beside them with the reason why it is no run."""
    from medssr.reports.study_runs import find_runs, find_study, read_runs

    if config.wandb is not None:
        from medssr.reports.wandb_online import download_runs

        return read_runs(download_runs(config.wandb, config.study, Path(config.output_dir) / "wandb")), []
    if config.study is not None:
        runs, left_out = find_study(config.study, Path(config.paths.log_dir))
        if not runs:
            reasons = "\n".join(f"{each.run}: {each.reason}" for each in left_out)
            raise InputError(f"study: no run of {config.study!r} has finished.\n{reasons}")
        return runs, left_out
    return find_runs(config.runs)


def main() -> None:
    """Console entry point."""
    sys.argv[1:] = runs_as_override(sys.argv[1:])
    run_command("compare", lambda config: log.info("report: %s", compare(config)))


def runs_as_override(arguments: Sequence[str]) -> list[str]:
    """Returns the command line with the folders that it names as one override of `runs`, and its baseline quoted.

    Folders of a sweep and configurations are named by overrides, which no shell user wants to quote for Hydra.

    Example:
        >>> runs_as_override(["num_examples=1", ".", "baseline=model=tiny_llama,synthesis.rare_share=0.5"])
        ['num_examples=1', 'baseline="model=tiny_llama,synthesis.rare_share=0.5"', 'runs=["."]']
    """
    folders = [argument for argument in arguments if Path(argument).is_dir()]
    rest = [
        re.sub(
            r'^baseline=([^"\']*[=,].*)$',
            lambda found: f"baseline={json.dumps(found[1], ensure_ascii=False)}",
            argument,
        )
        for argument in arguments
        if argument not in folders
    ]
    return [*rest, f"runs={json.dumps(folders, ensure_ascii=False)}"] if folders else rest


if __name__ == "__main__":
    main()
