"""The report over one or more runs: a static HTML page with pictures, CSV, Markdown, and a table for the terminal."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.evaluation.scoring import ALL, COMMON, RARE
from medssr.tracking.plots import plot_accuracy, plot_calibration, plot_rewards
from medssr.tracking.runs import LabelSummary, RewardCurve, Run, read_run
from medssr.tracking.summary import (
    Cell,
    SummaryRow,
    accuracy_table,
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

__all__ = ["Run", "console_table", "read_run", "summary_rows", "write_report"]


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG of the page: its file name, what it shows and a note below it."""

    file: str
    title: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class LabelRow:
    """The label outcomes that one or more runs share, each as (name, count, share of all questions)."""

    runs: list[str]
    num_questions: int
    outcomes: list[tuple[str, int, float]]


def write_report(runs: Sequence[Run], out_dir: Path | str) -> Path:
    """Writes `index.html` with its PNGs, `summary.csv` and `summary.md` to a folder and returns the page's path.

    Raises:
        ValueError: Without a run.
    """
    if not runs:
        raise ValueError("a report needs at least one run")
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    _write_csv(runs, out_dir / "summary.csv")
    _write_markdown(runs, out_dir / "summary.md")
    page = out_dir / "index.html"
    with open_atomically(page) as stream:
        stream.write(_render_page(runs, out_dir))
    return page


def console_table(runs: Sequence[Run]) -> Table:
    """Returns accuracy by stage and slice as a table for the terminal, each cell "0.712 [0.66, 0.76] n=318".

    With several runs, each has a line of its own above those of its models. Cells break between their parts alone.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    wide = accuracy_table(runs)
    table = Table(
        title="accuracy, 95% interval, n questions", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for place, heading in enumerate(wide.headings):
        longest = max(len(row.labels[place]) for row in wide.rows)
        table.add_column(Text(heading), overflow="fold", min_width=min(longest, 20))
    for name in wide.slices:
        table.add_column(Text(name))
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


def _render_page(runs: Sequence[Run], out_dir: Path) -> str:
    """Returns the page; the pictures that it shows are written on the way."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["interval"] = lambda ends: interval(*ends)
    template = environment.from_string(resources.files("medssr.tracking").joinpath("report.html").read_text("utf-8"))
    return template.render(
        runs=runs,
        rows_of_run=[summary_rows(run) for run in runs],
        sample_counts=sorted({row.num_samples for run in runs for row in summary_rows(run)}),
        accuracy=accuracy_table(runs),
        seeds=seed_table(runs),
        paired=paired_table(runs),
        label_rows=_label_rows(runs),
        varying=varying_settings(runs),
        accuracy_pictures=_draw_accuracy(runs, out_dir),
        reward_pictures=_draw_rewards(runs, out_dir),
        calibration_pictures=_draw_calibration(runs, out_dir),
        as_text=lambda value: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str),
    )


def varying_settings(runs: Sequence[Run]) -> list[str]:
    """Returns the names of the configuration fields whose value differs between runs, in the order of the first run."""
    names = dict.fromkeys(name for run in runs for name in run.record.config)
    values = {name: {repr(run.record.config.get(name)) for run in runs} for name in names}
    return [name for name in names if len(values[name]) > 1]


def _draw_accuracy(runs: Sequence[Run], out_dir: Path) -> list[Picture]:
    """Draws one picture for each benchmark and, where it is divided so, for its rare and its common questions."""
    rows = [row for run in runs for row in summary_rows(run)]
    pictures = []
    for number, benchmark in enumerate(dict.fromkeys(row.benchmark for row in rows)):
        found = {row.slice for row in rows if row.benchmark == benchmark}
        for slice_name in [name for name in (RARE, COMMON) if name in found] or [ALL]:
            file = f"accuracy_{number}_{_slug(benchmark)}_{slice_name}.png"
            plot_accuracy(runs, benchmark, slice_name, out_dir / file)
            pictures.append(Picture(file, f"{benchmark}, {slice_name} questions"))
    return pictures


def _draw_rewards(runs: Sequence[Run], out_dir: Path) -> list[Picture]:
    """Draws one picture a stage with every run that logged a reward in it."""
    pictures = []
    for number, stage in enumerate(dict.fromkeys(stage for run in runs for stage in run.rewards)):
        curves: dict[str, RewardCurve] = {}
        for run in runs:
            curve = run.rewards.get(stage)
            if curve is not None and curve.steps:
                name = run.name if run.name not in curves else f"{run.name} ({len(curves) + 1})"
                curves[name] = curve
        if not curves:
            continue
        file = f"reward_{number}_{_slug(stage)}.png"
        plot_rewards(curves, out_dir / file)
        skipped = sum(curve.num_skipped for curve in curves.values())
        note = f"{skipped} logged rewards are not finite numbers and are left out." if skipped else ""
        pictures.append(Picture(file, stage, note))
    return pictures


def _draw_calibration(runs: Sequence[Run], out_dir: Path) -> list[Picture]:
    """Draws one picture for each set of labels whose truth is known; runs that share their labels share it."""
    pictures = []
    for number, (labels, names) in enumerate(_runs_by_labels(runs)):
        if any(band.accuracy is not None and band.n > 0 for band in labels.bands):
            file = f"calibration_{number}.png"
            plot_calibration(labels.bands, out_dir / file)
            pictures.append(Picture(file, ", ".join(names)))
    return pictures


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
        for labels, names in _runs_by_labels(runs)
    ]


def _runs_by_labels(runs: Sequence[Run]) -> list[tuple[LabelSummary, list[str]]]:
    """Returns each distinct set of label counts with the names of the runs that have it."""
    groups: dict[str, tuple[LabelSummary, list[str]]] = {}
    for run in runs:
        if run.record.labels is not None:
            key = json.dumps(dataclasses.asdict(run.record.labels), sort_keys=True)
            groups.setdefault(key, (run.record.labels, []))[1].append(run.name)
    return list(groups.values())


def _write_csv(runs: Sequence[Run], path: Path) -> None:
    with open_atomically(path) as stream:
        writer = csv.DictWriter(stream, [field.name for field in dataclasses.fields(SummaryRow)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(dataclasses.asdict(row) for run in runs for row in summary_rows(run))


def _write_markdown(runs: Sequence[Run], path: Path) -> None:
    sections: list[tuple[str, Any]] = [
        ("Accuracy: mean over n questions of the share of right samples, 95% interval", accuracy_table(runs)),
        ("Mean over seeds, standard deviation between seeds", seed_table(runs)),
        ("Paired differences on the same n questions, 95% interval", paired_table(runs)),
    ]
    with open_atomically(path) as stream:
        stream.write("\n".join(f"## {title}\n\n{markdown_table(table)}" for title, table in sections if table.rows))


def _slug(text: str) -> str:
    """Returns a part of a file name; the number beside it keeps equal slugs apart."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:40]
