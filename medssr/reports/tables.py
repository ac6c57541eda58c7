"""Scores as a table on the console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medssr.evaluation.scoring import ALL
from medssr.reports.pair_tables import pair_rows
from medssr.reports.paired_runs import Pairings

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

_LEAST_WIDTH = 100  # that scores with their intervals need


def print_scores(benchmarks: Mapping[str, Mapping[str, Any]]) -> None:
    """Prints accuracy with its interval, majority accuracy and invalid rate of every slice of every benchmark.

    Args:
        benchmarks: `BenchmarkScore` as JSON, by benchmark.
    """
    from rich.table import Table

    table = Table(
        "benchmark", "slice", "n", "accuracy, 95% interval", "maj@k", "pass@k", "invalid", "recovered", "always A"
    )
    for name, result in benchmarks.items():
        for slice_name, row in result["slices"].items():
            accuracy = row["accuracy"]
            table.add_row(
                f"{name} (k={result['num_samples']})",
                slice_name,
                str(row["num_questions"]),
                f"{accuracy['value']:.3f} [{accuracy['low']:.3f}, {accuracy['high']:.3f}]",
                f"{row['majority_accuracy']['value']:.3f}",
                f"{row['pass_at_k'][-1]['value']:.3f}",
                f"{row['invalid']['value']:.3f}",
                f"{row['recovered']['value']:.3f}",
                f"{row['always_a']['value']:.3f}",
            )
    _print(table)


def print_ranking_scores(metrics: Mapping[str, Any]) -> None:
    """Prints each metric of a retriever with its interval and the number of questions that have it.

    Args:
        metrics: `metrics.json` of medssr-retrieve; the metrics are the entries with an "@" in their names.
    """
    from rich.table import Table

    table = Table("metric", "value, 95% interval", "n")
    for name, estimate in metrics.items():
        if "@" in name:
            value, low, high = (estimate[key] for key in ("value", "low", "high"))
            table.add_row(name, f"{value:.3f} [{low:.3f}, {high:.3f}]", str(estimate["n"]))
    _print(table)


def comparison_table(pairings: Pairings) -> Group:
    """Returns the runs against the first run on whole benchmarks, and below it what was not compared and why."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    title = f"difference from {pairings.pairs[0].first}" if pairings.pairs else ""
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("benchmark", "n", "difference, 95% interval", "corrected p", "won / lost"):
        table.add_column(heading, overflow="fold")
    for rows in pair_rows(pairings):
        table.add_section()
        table.add_row(Text(rows[0].second, style="bold"))
        for row in rows:
            if row.slice == ALL:
                table.add_row(Text(row.benchmark), str(row.n), row.change, row.corrected_p, row.won_and_lost)
    lines = [Text(f"not compared: {each.what}: {each.reason}") for each in pairings.left_out]
    return Group(*([table] if pairings.pairs else []), *lines)


def _print(table: Table) -> None:
    from rich.console import Console

    Console(width=max(_LEAST_WIDTH, Console().width)).print(table)
