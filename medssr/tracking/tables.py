"""Scores as a table on the console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def print_scores(benchmarks: Mapping[str, Mapping[str, Any]]) -> None:
    """Prints accuracy with its interval, majority accuracy, invalid rate and n of every slice of every benchmark.

    Args:
        benchmarks: `BenchmarkScore` as JSON, by benchmark.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table("benchmark", "slice", "n", "samples", "accuracy [95% interval]", "majority", "invalid", "always A")
    for name, result in benchmarks.items():
        for slice_name, row in result["slices"].items():
            accuracy = row["accuracy"]
            table.add_row(
                name,
                slice_name,
                str(row["num_questions"]),
                str(result["num_samples"]),
                f"{accuracy['value']:.3f} [{accuracy['low']:.3f}, {accuracy['high']:.3f}]",
                f"{row['majority_accuracy']['value']:.3f}",
                f"{row['invalid']['value']:.3f}",
                f"{row['always_a']['value']:.3f}",
            )
    Console().print(table)
