"""Scores as a table on the console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def print_scores(benchmarks: Mapping[str, Mapping[str, Any]]) -> None:
    """Prints accuracy with its interval, majority accuracy and invalid rate of every slice of every benchmark.

    Args:
        benchmarks: `BenchmarkScore` as JSON, by benchmark.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table("benchmark", "slice", "n", "accuracy, 95% interval", "maj@k", "invalid", "always A")
    for name, result in benchmarks.items():
        for slice_name, row in result["slices"].items():
            accuracy = row["accuracy"]
            table.add_row(
                f"{name} (k={result['num_samples']})",
                slice_name,
                str(row["num_questions"]),
                f"{accuracy['value']:.3f} [{accuracy['low']:.3f}, {accuracy['high']:.3f}]",
                f"{row['majority_accuracy']['value']:.3f}",
                f"{row['invalid']['value']:.3f}",
                f"{row['always_a']['value']:.3f}",
            )
    Console(width=max(100, Console().width)).print(table)


def print_ranking_scores(metrics: Mapping[str, Any]) -> None:
    """Prints each metric of a retriever with its interval and the number of questions that have it.

    Args:
        metrics: `metrics.json` of medssr-retrieve; the metrics are the entries with an "@" in their names.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", "value, 95% interval", "n")
    for name, estimate in metrics.items():
        if "@" in name:
            value, low, high = (estimate[key] for key in ("value", "low", "high"))
            table.add_row(name, f"{value:.3f} [{low:.3f}, {high:.3f}]", str(estimate["n"]))
    Console(width=max(100, Console().width)).print(table)
