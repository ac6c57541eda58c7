"""medssr-compare: compare any set of runs on one page."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medssr.cli.entry import run_command
from medssr.config import CompareConfig
from medssr.errors import InputError
from medssr.utils.console import table_console

if TYPE_CHECKING:
    from medssr.reports.comparison import GroupComparison
    from medssr.reports.runs import LeftOut, Run

log = logging.getLogger(__name__)

_MAX_RUNS_IN_TERMINAL = 12  # with more runs, single runs are shown on the page only


@dataclass(frozen=True, slots=True)
class ComparedRuns:
    """A comparison with its page, and the folders that could not be read as a run."""

    page: Path
    comparison: GroupComparison
    left_out: list[LeftOut]


def compare_runs(config: CompareConfig) -> ComparedRuns:
    """Compares the runs and writes their page.

    Raises:
        InputError: When a folder holds no run, or a file of a run is broken.
    """
    from medssr.reports.comparison import compare_groups
    from medssr.reports.pages import write_report
    from medssr.reports.tables import scores
    from medssr.reports.wandb_steps import log_tables

    runs, left_out = _find_runs(config)
    comparison = compare_groups(runs, config.baseline, num_examples=config.num_examples)
    page = write_report(comparison, Path(config.output_dir), left_out)
    if config.logger is not None:
        log_tables(config, {"scores": scores(comparison.runs), "comparisons": comparison.table}, page.parent)
    return ComparedRuns(page, comparison, left_out)


def compare(config: CompareConfig) -> Path:
    """Returns the page that compares the runs; prints their tables. Errors as in `compare_runs`."""
    from medssr.reports.pages import console_differences, console_groups, console_scores
    from medssr.reports.render import LEAST_WIDTH

    compared = compare_runs(config)
    comparison = compared.comparison
    console = table_console(LEAST_WIDTH)
    if len(comparison.groups) > 1:
        console.print(console_groups(comparison))
    if len(comparison.runs) <= _MAX_RUNS_IN_TERMINAL:
        console.print(console_scores(comparison.runs))
        console.print(console_differences(comparison) or "")
    for each in [*compared.left_out, *comparison.left_out]:
        console.print(f"not compared: {each.what}: {each.reason}", markup=False, highlight=False)
    return compared.page


def _find_runs(config: CompareConfig) -> tuple[list[Run], list[LeftOut]]:
    """Returns the runs to compare, and the folders that cannot be read as a run, with the reasons."""
    from medssr.reports.studies import download_runs, find_runs, find_study, read_runs

    if config.wandb is not None:
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
    """Returns the command line with its folders as one override of `runs`, and its baseline quoted.

    The names of sweep folders and of groups contain overrides, which otherwise would need quotes for Hydra.

    Example:
        >>> runs_as_override(["num_examples=1", ".", "baseline=model=tiny_llama,synthesis.rare_share=0.5"])
        ['num_examples=1', 'baseline="model=tiny_llama,synthesis.rare_share=0.5"', 'runs=["."]']
    """
    folders = [argument for argument in arguments if Path(argument).is_dir()]
    rest = [
        re.sub(
            r'^baseline=([^"\']*[=,].*)$',
            lambda match: f"baseline={json.dumps(match[1], ensure_ascii=False)}",
            argument,
        )
        for argument in arguments
        if argument not in folders
    ]
    return [*rest, f"runs={json.dumps(folders, ensure_ascii=False)}"] if folders else rest


if __name__ == "__main__":
    main()
