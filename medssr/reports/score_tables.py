"""Scores and comparisons as tables of Weights & Biases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from medssr.config import CompareConfig
from medssr.reports.pair_tables import PairRow, comparison_rows
from medssr.reports.paired_runs import Pairings
from medssr.reports.runs import Run
from medssr.reports.summary import SummaryRow, summary_rows
from medssr.tracking.loggers import open_loggers
from medssr.tracking.wandb_logger import WandbMetrics
from medssr.utils.files import hash_file


def log_score_tables(config: CompareConfig, runs: Sequence[Run], pairings: Pairings, report: Path) -> None:
    """Logs the rows of `summary.csv` and `comparisons.csv` as the tables "scores" and "comparisons".

    Args:
        config: The command's configuration with its loggers.
        runs: The runs of the report.
        pairings: The runs against the first of them.
        report: The report's folder. The W&B run is named by its scores: the same report again is the same run.
    """
    tables: dict[str, tuple[type, list[Any]]] = {
        "scores": (SummaryRow, [row for run in runs for row in summary_rows(run)]),
        "comparisons": (PairRow, comparison_rows(runs, pairings)),
    }
    directory = report / "tables" / hash_file(report / "summary.csv")[:16]
    directory.mkdir(parents=True, exist_ok=True)
    with open_loggers(config.logger, config, directory) as loggers:
        for logger in loggers:
            if isinstance(logger, WandbMetrics):
                for name, (kind, rows) in tables.items():
                    columns = [field.name for field in fields(kind)]
                    logger.log_table(name, columns=columns, data=[list(astuple(row)) for row in rows])
