"""Comparisons of models and of runs as tables: one flat row each, and Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medssr.evaluation.comparison import Comparison
from medssr.reports.paired_runs import Pairings
from medssr.reports.runs import PairedDifference, Run
from medssr.reports.summary import escape_markdown, p_text


@dataclass(frozen=True, slots=True)
class PairRow:
    """One comparison: `second` minus `first` on the n questions of a slice of a benchmark."""

    first: str
    second: str
    benchmark: str
    slice: str
    n: int
    difference: float
    low: float
    high: float
    p_value: float | None
    p_adjusted: float | None
    num_won: int | None
    num_lost: int | None
    mcnemar_p_value: float | None
    mcnemar_p_adjusted: float | None

    @property
    def change(self) -> str:
        """The difference with its interval, as it is printed."""
        return f"{self.difference:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"

    @property
    def corrected_p(self) -> str:
        """The corrected p-value of the difference, as it is printed."""
        return _p(self.p_adjusted)

    @property
    def won_and_lost(self) -> str:
        """The questions won and lost, as they are printed."""
        return f"{self.num_won} / {self.num_lost}"

    @property
    def cells(self) -> list[str]:
        """The row under `HEADINGS`."""
        mcnemar = [_p(self.mcnemar_p_value), _p(self.mcnemar_p_adjusted)]
        numbers = [self.change, _p(self.p_value), self.corrected_p, self.won_and_lost, *mcnemar]
        return [self.benchmark, self.slice, str(self.n), *numbers]


HEADINGS = (
    "benchmark", "slice", "n", "difference, 95% interval", "p", "corrected p", "won / lost", "McNemar p",
    "corrected McNemar p",
)  # fmt: skip


def pair_rows(pairings: Pairings) -> list[list[PairRow]]:
    """Returns the rows of each pair of runs."""
    return [
        [
            _row(pair.first, pair.second, benchmark, name, found)
            for benchmark, slices in pair.comparisons.items()
            for name, found in slices.items()
        ]
        for pair in pairings.pairs
    ]


def comparison_rows(runs: Sequence[Run], pairings: Pairings) -> list[PairRow]:
    """Returns all comparisons: of the models of each run, as its `results.json` has them, then of the runs."""
    within = [
        _row(f"{run.name}: {pair.origin}", f"{run.name}: {pair.to}", pair.benchmark, pair.slice, pair)
        for run in runs
        for pair in run.record.paired
    ]
    return [*within, *(row for rows in pair_rows(pairings) for row in rows)]


def _row(first: str, second: str, benchmark: str, name: str, found: Comparison | PairedDifference) -> PairRow:
    return PairRow(
        first,
        second,
        benchmark,
        name,
        n=found.n,
        difference=found.difference,
        low=found.low,
        high=found.high,
        p_value=found.p_value,
        p_adjusted=found.p_adjusted,
        num_won=found.num_won,
        num_lost=found.num_lost,
        mcnemar_p_value=found.mcnemar_p_value,
        mcnemar_p_adjusted=found.mcnemar_p_adjusted,
    )


def markdown_pairs(pairings: Pairings) -> str:
    """Returns the comparisons of runs as Markdown: one table a pair, then what was left out."""
    lines: list[str] = []
    for rows in pair_rows(pairings):
        lines += [f"### {escape_markdown(rows[0].second)} minus {escape_markdown(rows[0].first)}", ""]
        lines += [_line(HEADINGS), _line(["---"] * len(HEADINGS))]
        lines += [*(_line(row.cells) for row in rows), ""]
    if pairings.left_out:
        lines += ["Not compared:", ""]
        lines += [f"- {escape_markdown(each.what)}: {escape_markdown(each.reason)}" for each in pairings.left_out]
    return "\n".join(lines).rstrip() + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(escape_markdown(text) for text in cells) + " |"


def _p(p: float | None) -> str:
    return "-" if p is None else p_text(p).removeprefix("p").removeprefix("=")
