"""The report over one or more runs: a static HTML page with pictures, CSV, Markdown, and a table for the terminal."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from medssr.reports.configuration_report import (
    draw_configurations,
    markdown_configurations,
    wide_configurations,
    write_configurations,
)
from medssr.reports.configuration_table import ConfigurationTable
from medssr.reports.pair_tables import HEADINGS, PairRow, comparison_rows, markdown_pairs, pair_rows
from medssr.reports.paired_runs import Pairings
from medssr.reports.pictures import (
    draw_accuracy,
    draw_differences,
    draw_label_calibration,
    draw_reliability,
    draw_rewards,
    runs_by_labels,
)
from medssr.reports.runs import Run
from medssr.reports.summary import (
    Cell,
    SummaryRow,
    WideTable,
    accuracy_table,
    calibration_table,
    escape_markdown,
    interval,
    markdown_table,
    paired_table,
    seed_table,
    summary_rows,
)
from medssr.utils.files import open_atomically

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text


@dataclass(frozen=True, slots=True)
class LabelRow:
    """The label outcomes that one or more runs share, each as (name, count, share of all questions)."""

    runs: list[str]
    num_questions: int
    outcomes: list[tuple[str, int, float]]


_LONGEST_UNFOLDED = 20  # characters of a name that stays on one line of the terminal
_NO_PAIRINGS = Pairings([], [])


def write_report(
    runs: Sequence[Run],
    out_dir: Path | str,
    pairings: Pairings = _NO_PAIRINGS,
    configurations: ConfigurationTable | None = None,
) -> Path:
    """Writes `index.html` with its PNGs, `summary.csv`, `comparisons.csv` and `summary.md`; returns the page's path.

    With configurations also `configurations.csv` and `configurations.tex`.

    Args:
        runs: What is shown.
        out_dir: The folder to write to.
        pairings: The runs against the first of them.
        configurations: The runs by what they have in common but for the seed.

    Raises:
        ValueError: Without a run.
    """
    if not runs:
        raise ValueError("a report needs at least one run")
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    _write_csv([row for run in runs for row in summary_rows(run)], SummaryRow, out_dir / "summary.csv")
    _write_csv(comparison_rows(runs, pairings), PairRow, out_dir / "comparisons.csv")
    _write_markdown(runs, pairings, configurations, out_dir / "summary.md")
    if configurations is not None:
        write_configurations(configurations, out_dir)
    page = out_dir / "index.html"
    with open_atomically(page) as stream:
        stream.write(_render_page(runs, pairings, configurations, out_dir))
    return page


def console_table(runs: Sequence[Run]) -> Table:
    """Returns accuracy by stage and slice as a table for the terminal, each cell "0.712 [0.66, 0.76] n=318".

    With several runs, each has a line of its own above those of its models. Cells break between their parts alone.
    """
    return _console_table(accuracy_table(runs), "accuracy, 95% interval, n questions")


def console_configurations(configurations: ConfigurationTable) -> Table:
    """Returns the configurations as a table for the terminal, without their costs."""
    title = f"mean over seeds, 95% interval; difference from {configurations.baseline}"
    return _console_table(wide_configurations(configurations, has_costs=False), title)


def _console_table(wide: WideTable, title: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.caption, table.caption_justify = Text(wide.note), "left"
    for place, heading in enumerate(wide.headings):
        longest = max(len(row.labels[place]) for row in wide.rows)
        is_short = longest <= _LONGEST_UNFOLDED
        table.add_column(
            Text(heading), overflow="fold", no_wrap=is_short, min_width=0 if is_short else _LONGEST_UNFOLDED
        )
    for place, name in enumerate(wide.slices):
        is_number = all(cell is None or len(cell.parts) == 1 for cell in (row.cells[place] for row in wide.rows))
        table.add_column(Text(name), overflow="fold", no_wrap=is_number)
    for row in wide.rows:
        if wide.group_heading and row.is_first:
            table.add_section()
            table.add_row(Text(row.group, style="bold"))
        table.add_row(*map(Text, row.labels), *(_ConsoleCell(cell) if cell else Text("-") for cell in row.cells))
    return table


@dataclass(frozen=True, slots=True)
class _ConsoleCell:
    """A cell that puts as many of its parts on a line as fit."""

    cell: Cell

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.measure import Measurement

        return Measurement(max(map(len, self.cell.parts)), len(str(self.cell)))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text

        line = ""
        for part in self.cell.parts:
            if line and len(line) + 1 + len(part) > options.max_width:
                yield Text(line)
                line = part
            else:
                line = f"{line} {part}".strip()
        yield Text(line)


def _render_page(
    runs: Sequence[Run], pairings: Pairings, configurations: ConfigurationTable | None, out_dir: Path
) -> str:
    """Returns the page; the pictures that it shows are written on the way."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["interval"] = lambda ends: interval(*ends)
    template = environment.from_string(resources.files("medssr.reports").joinpath("report.html").read_text("utf-8"))
    return template.render(
        runs=runs,
        rows_of_run=[summary_rows(run) for run in runs],
        sample_counts=sorted({row.num_samples for run in runs for row in summary_rows(run)}),
        accuracy=accuracy_table(runs),
        seeds=seed_table(runs),
        paired=paired_table(runs),
        calibration=calibration_table(runs),
        pairs=list(zip(pairings.pairs, pair_rows(pairings), strict=True)),
        pair_headings=HEADINGS,
        left_out=pairings.left_out,
        configurations=wide_configurations(configurations) if configurations else None,
        configuration_notes=configurations.left_out if configurations else [],
        baseline=configurations.baseline if configurations else None,
        configuration_pictures=draw_configurations(configurations, out_dir) if configurations else [],
        label_rows=_label_rows(runs),
        varying=varying_settings(runs),
        accuracy_pictures=draw_accuracy(runs, out_dir),
        difference_pictures=draw_differences(pairings, out_dir),
        reliability_pictures=draw_reliability(runs, out_dir),
        reward_pictures=draw_rewards(runs, out_dir),
        label_pictures=draw_label_calibration(runs, out_dir),
        as_text=lambda value: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str),
    )


def varying_settings(runs: Sequence[Run]) -> list[str]:
    """Returns the names of the configuration fields whose value differs between runs, in the order of the first run."""
    names = dict.fromkeys(name for run in runs for name in run.record.config)
    values = {name: {repr(run.record.config.get(name)) for run in runs} for name in names}
    return [name for name in names if len(values[name]) > 1]


def _label_rows(runs: Sequence[Run]) -> list[LabelRow]:
    return [
        LabelRow(
            runs=names,
            num_questions=labels.num_questions,
            outcomes=[
                (name.replace("_", " "), count, count / labels.num_questions if labels.num_questions else 0.0)
                for name, count in labels.outcomes.items()
            ],
        )
        for labels, names in runs_by_labels(runs)
    ]


def _write_csv(rows: Sequence[SummaryRow] | Sequence[PairRow], kind: type, path: Path) -> None:
    with open_atomically(path) as stream:
        writer = csv.DictWriter(stream, [field.name for field in dataclasses.fields(kind)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(dataclasses.asdict(row) for row in rows)


def _write_markdown(
    runs: Sequence[Run], pairings: Pairings, configurations: ConfigurationTable | None, path: Path
) -> None:
    tables: list[tuple[str, WideTable]] = [
        ("Accuracy: mean over n questions of the share of right samples, 95% interval", accuracy_table(runs)),
        ("Mean over seeds, standard deviation between seeds", seed_table(runs)),
        ("Paired differences on the same n questions, 95% interval, corrected p", paired_table(runs)),
        ("Expected calibration error of the agreement between samples", calibration_table(runs)),
    ]
    sections = [f"## {title}\n\n{markdown_table(table)}" for title, table in tables if table.rows]
    if configurations is not None:
        title = f"Configurations: mean over seeds, 95% interval, difference from {configurations.baseline}"
        sections.insert(0, f"## {escape_markdown(title)}\n\n{markdown_configurations(configurations)}")
    if pairings.pairs or pairings.left_out:
        sections.append(f"## Runs compared with the first run\n\n{markdown_pairs(pairings)}")
    with open_atomically(path) as stream:
        stream.write("\n".join(sections))
