"""Runs as tables: one flat row a score, and wide tables with one column a slice."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from medssr.evaluation.scoring import ALL, COMMON, RARE, RARE_ASKED, RARE_NEVER_ASKED
from medssr.reports.configurations import group_by_configuration
from medssr.reports.runs import Run
from medssr.reports.settings import differing_settings

_SLICE_ORDER = (RARE, COMMON, RARE_ASKED, RARE_NEVER_ASKED)


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """Every score of one model on one slice of a benchmark, each with its denominator."""

    run: str
    overrides: str
    model: str
    benchmark: str
    slice: str
    num_questions: int
    num_samples: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    deviation: float
    majority_accuracy: float
    majority_accuracy_low: float
    majority_accuracy_high: float
    pass_at_n: float
    pass_at_n_low: float
    pass_at_n_high: float
    invalid_rate: float
    num_invalid: int
    num_recovered: int
    num_samples_total: int
    always_a_accuracy: float
    second_pass_accuracy: float | None
    second_pass_low: float | None
    second_pass_high: float | None


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of a wide table: the value, its spread, its denominator and its p-value, ready to print."""

    value: str
    spread: str
    n: str
    p: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        """The texts in the order in which they are read."""
        return tuple(part for part in (self.value, self.spread, self.n, self.p) if part)

    def __str__(self) -> str:
        return " ".join(self.parts)


@dataclass(frozen=True, slots=True)
class WideRow:
    """One row of a wide table.

    Attributes:
        group: The run or configuration that the row belongs to.
        is_first: Whether the row is the first of its group.
        labels: What the row is about: the model and, where there are several, the benchmark.
        cells: One for each slice, None where it has no question.
    """

    group: str
    is_first: bool
    labels: list[str]
    cells: list[Cell | None]


@dataclass(frozen=True, slots=True)
class WideTable:
    """A table with one column a slice.

    Attributes:
        group_heading: What the groups are ("run"); None when there is only one and its name needs no column.
        headings: Names of the label columns.
        slices: Names of the slice columns.
        rows: The rows, group by group.
        full_names: What short headings stand for.
    """

    group_heading: str | None
    headings: list[str]
    slices: list[str]
    rows: list[WideRow]
    full_names: dict[str, str] = field(default_factory=dict)

    @property
    def note(self) -> str:
        """What short headings stand for, as a line below the table; empty where none is short."""
        return "; ".join(f"{name}: {full}" for name, full in self.full_names.items())


def summary_rows(run: Run) -> list[SummaryRow]:
    """Returns one row for each model, benchmark and slice of a run, in the order of the run."""
    return [
        SummaryRow(
            run=run.name,
            overrides=" ".join(run.record.overrides),
            model=model.name,
            benchmark=benchmark,
            slice=name,
            num_questions=found.num_questions,
            num_samples=score.num_samples,
            accuracy=found.accuracy.value,
            accuracy_low=found.accuracy.low,
            accuracy_high=found.accuracy.high,
            deviation=found.deviation,
            majority_accuracy=found.majority_accuracy.value,
            majority_accuracy_low=found.majority_accuracy.low,
            majority_accuracy_high=found.majority_accuracy.high,
            pass_at_n=found.pass_at_k[-1].value,
            pass_at_n_low=found.pass_at_k[-1].low,
            pass_at_n_high=found.pass_at_k[-1].high,
            invalid_rate=found.invalid.value,
            num_invalid=found.invalid.count,
            num_recovered=found.recovered.count,
            num_samples_total=found.invalid.n,
            always_a_accuracy=found.always_a.value,
            second_pass_accuracy=found.second_pass.accuracy.value if found.second_pass else None,
            second_pass_low=found.second_pass.accuracy.low if found.second_pass else None,
            second_pass_high=found.second_pass.accuracy.high if found.second_pass else None,
        )
        for model in run.record.models
        for benchmark, score in model.benchmarks.items()
        for name, found in score.slices.items()
    ]


def accuracy_table(runs: Sequence[Run]) -> WideTable:
    """Returns accuracy (mean@n) with its interval and n, one row for each run, model and benchmark."""
    cells: dict[tuple[str, ...], dict[str, Cell]] = {}
    for number, run in enumerate(runs):
        for row in summary_rows(run):
            cell = Cell(f"{row.accuracy:.3f}", interval(row.accuracy_low, row.accuracy_high), f"n={row.num_questions}")
            cells.setdefault((str(number), run.name, row.model, row.benchmark), {})[row.slice] = cell
    return _wide("run", "model", cells)


def paired_table(runs: Sequence[Run]) -> WideTable:
    """Returns the paired differences between models of the same run, one row for each pair and benchmark."""
    cells: dict[tuple[str, ...], dict[str, Cell]] = {}
    for number, run in enumerate(runs):
        for pair in run.record.paired:
            labels = (str(number), run.name, f"{pair.origin} → {pair.to}", pair.benchmark)
            cells.setdefault(labels, {})[pair.slice] = Cell(
                f"{pair.difference:+.3f}",
                f"[{pair.low:+.3f}, {pair.high:+.3f}]",
                f"n={pair.n}",
                "" if pair.p_adjusted is None else p_text(pair.p_adjusted),
            )
    return _wide("run", "from → to", cells)


def calibration_table(runs: Sequence[Run]) -> WideTable:
    """Returns the expected calibration error of each model, one column a benchmark."""
    cells: dict[tuple[str, ...], dict[str, Cell]] = {}
    for number, run in enumerate(runs):
        for model in run.record.models:
            for benchmark, score in model.benchmarks.items():
                if score.calibration is not None and score.calibration.n > 0:
                    cell = Cell(f"{score.calibration.expected_error:.3f}", "", f"n={score.calibration.n}")
                    cells.setdefault((str(number), run.name, model.name, ""), {})[benchmark] = cell
    return _wide("run", "model", cells)


def seed_table(runs: Sequence[Run]) -> WideTable:
    """Returns accuracy averaged over the runs that share everything except their seed.

    A cell gives the mean over seeds, the standard deviation between seeds (denominator: seeds - 1) and the number of
    seeds. The table has no row when no two runs differ in their seed alone.
    """
    cells: dict[tuple[str, ...], dict[str, Cell]] = {}
    for number, each in enumerate(group_by_configuration(runs, differing_settings(runs))):
        if len(each.runs) < 2:
            continue
        values: dict[tuple[str, ...], dict[str, list[float]]] = {}
        for row in (row for run in each.runs for row in summary_rows(run)):
            values.setdefault((str(number), each.name, row.model, row.benchmark), {}).setdefault(row.slice, []).append(
                row.accuracy
            )
        for labels, slices in values.items():
            cells[labels] = {
                slice_name: Cell(
                    f"{statistics.mean(found):.3f}", f"sd {statistics.stdev(found):.3f}", f"{len(found)} seeds"
                )
                for slice_name, found in slices.items()
                if len(found) > 1
            }
    return _wide("configuration", "model", cells)


def p_text(p: float) -> str:
    """Returns a p-value as text.

    Example:
        >>> p_text(0.0312), p_text(0.00001)
        ('p=0.031', 'p<0.001')
    """
    return "p<0.001" if p < 0.001 else f"p={p:.3f}"


def interval(low: float, high: float) -> str:
    """Returns an interval as text.

    Example:
        >>> interval(0.6612, 0.7588)
        '[0.66, 0.76]'
    """
    return f"[{low:.2f}, {high:.2f}]"


def markdown_table(table: WideTable) -> str:
    """Returns the table as Markdown, its groups as the first column."""
    groups = [table.group_heading] if table.group_heading else []
    lines = [[*groups, *table.headings, *table.slices]]
    lines.append(["---"] * len(lines[0]))
    for row in table.rows:
        cells = [str(cell) if cell else "-" for cell in row.cells]
        lines.append([*([row.group] if groups else []), *row.labels, *cells])
    text = "".join("| " + " | ".join(escape_markdown(cell) for cell in line) + " |\n" for line in lines)
    return text + (f"\n{escape_markdown(table.note)}\n" if table.note else "")


def escape_markdown(text: str) -> str:
    """Returns the text as a cell of a Markdown table shows it literally."""
    for character, replacement in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("\n", " ")):
        text = text.replace(character, replacement)
    return text


def _wide(group_heading: str, row_heading: str, cells: dict[tuple[str, ...], dict[str, Cell]]) -> WideTable:
    """Returns the table of cells by (number of the group, its name, model, benchmark) and slice.

    Groups of one model that has the group's name, as evaluations are, do not name it twice.
    """
    has_groups = len({labels[0] for labels in cells}) > 1
    has_benchmarks = len({labels[3] for labels in cells}) > 1
    names_twice = has_groups and all(group == model or group.startswith(f"{model} (") for _, group, model, _ in cells)
    slices = _slice_columns(cells.values(), has_benchmarks)
    rows, previous = [], None
    for (number, group, model, benchmark), found in cells.items():
        labels = [model, benchmark] if has_benchmarks else [model]
        if names_twice:
            labels = [benchmark] if has_benchmarks else [group]
        rows.append(WideRow(group, number != previous, labels, [found.get(name) for name in slices]))
        previous = number
    headings = [row_heading, "benchmark"] if has_benchmarks else [row_heading]
    return WideTable(
        group_heading=group_heading if has_groups and (has_benchmarks or not names_twice) else None,
        headings=headings[1:] if names_twice and has_benchmarks else headings,
        slices=slices,
        rows=rows,
    )


def _slice_columns(rows: Collection[dict[str, Cell]], has_benchmarks: bool) -> list[str]:
    """Returns the slices to show: "all" where there are several benchmarks or a row is neither rare nor common."""
    found = {name: None for row in rows for name in row}
    ordered = [name for name in _SLICE_ORDER if name in found]
    extra = [name for name in found if name not in (ALL, *_SLICE_ORDER)]
    needs_all = any(ALL in row and (has_benchmarks or (RARE not in row and COMMON not in row)) for row in rows)
    return [*([ALL] if needs_all else []), *ordered, *extra]
