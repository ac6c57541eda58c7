"""The report of some runs: a static HTML page with figures, and the same numbers as CSV, Markdown and LaTeX."""

from __future__ import annotations

import hashlib
import os
import shlex
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from medssr.evaluation.scoring import ALL
from medssr.reports import figures, tables
from medssr.reports.colours import palette_of
from medssr.reports.comparison import GroupComparison
from medssr.reports.drafts import draft_sets
from medssr.reports.metrics import step_costs
from medssr.reports.render import (
    ConsoleTable,
    escape_markdown,
    latex,
    markdown,
    without_repeats,
    write_csv,
)
from medssr.reports.runs import LeftOut, Run
from medssr.reports.trajectories import Trajectory, trajectories
from medssr.utils.files import open_atomically

if TYPE_CHECKING:
    import pandas as pd


# What a page shows of one run, and of each of several: questions won and lost, and synthetic questions of each fate.
_MAX_STORIES_OF_ONE, _MAX_STORIES_OF_MANY, _MAX_GROUPS_WITH_STORIES = 8, 3, 4
_MAX_DRAFTS_OF_ONE, _MAX_DRAFTS_OF_MANY, _MAX_DRAFT_SETS = 10, 4, 3


@dataclass(frozen=True, slots=True)
class LiveView:
    """What the page of runs under way has besides.

    Attributes:
        progress: HTML that says how far each run is.
        version: Of the page.
    """

    progress: str
    version: int


def write_report(
    comparison: GroupComparison | None,
    out_dir: Path | str,
    left_out: Sequence[LeftOut] = (),
    live: LiveView | None = None,
) -> Path:
    """Writes `index.html` with its PNGs and the numbers as files; returns the page's path.

    `summary.csv` has every score of every run, `comparisons.csv` all groups with their differences from the baseline,
    `comparisons.tex` the latter as a table for a paper, `summary.md` the tables of the page.

    Args:
        comparison: The runs, as groups against a baseline; None where no run has begun.
        out_dir: The folder to write to.
        left_out: What could not be read as a run, with the reasons.
        live: Of runs under way.
    """
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {"left_out": list(left_out), "runs": []}
    if comparison is not None:
        content = _write_numbers(comparison, out_dir, left_out)
        content |= _shown(comparison, content["all_scores"], out_dir, is_live=live is not None)
    with open_atomically(out_dir / "index.html") as stream:
        stream.write(_html_page(content, out_dir, live))
    return out_dir / "index.html"


def _write_numbers(comparison: GroupComparison, out_dir: Path, left_out: Sequence[LeftOut]) -> dict[str, Any]:
    """Writes the files of numbers, and returns what the page has of them."""
    all_scores = tables.scores(comparison.runs)
    write_csv(all_scores, out_dir / "summary.csv")
    write_csv(comparison.table, out_dir / "comparisons.csv")
    groups = None if comparison.table.empty else tables.group_table(comparison)
    note = tables.setting_note(comparison)
    content = {
        "all_scores": all_scores,
        "groups": groups if len(comparison.finished_groups) > 1 else None,
        "setting_note": note,
        "baseline": comparison.baseline.name,
        "accuracy": tables.accuracy_table(all_scores),
        "seeds": tables.seed_table(comparison),
        "model_differences": tables.model_difference_table(comparison),
        "calibration": tables.calibration_table(comparison.runs),
        "differences": _significance_tables(comparison),
        "left_out": [*left_out, *comparison.left_out],
    }
    texts = {"summary.md": _markdown_page(content)} | (
        {} if groups is None else {"comparisons.tex": latex(groups, note)}
    )
    for name, text in texts.items():
        with open_atomically(out_dir / name) as stream:
            stream.write(text)
    return content | {"files": ["summary.csv", "comparisons.csv", *sorted(texts)]}


def console_scores(runs: Sequence[Run]) -> ConsoleTable:
    """Returns accuracy by model and slice as a table for the terminal."""
    return ConsoleTable(tables.accuracy_table(tables.scores(runs)), "accuracy, 95% interval, n questions")


def console_groups(comparison: GroupComparison) -> ConsoleTable:
    """Returns the groups as a table for the terminal, without their costs."""
    title = f"mean over seeds, 95% interval; difference from {comparison.baseline.name}"
    return ConsoleTable(tables.group_table(comparison, has_costs=False), title, tables.setting_note(comparison))


def console_differences(comparison: GroupComparison) -> ConsoleTable | None:
    """Returns the tests on whole benchmarks as a table for the terminal; None where there are none."""
    rows = comparison.differences_from_baseline()
    rows = rows[(rows["slice"] == ALL) & rows["p_value"].notna()]
    if rows.empty:
        return None
    columns = ["n", "difference, 95% interval", "corrected p", "won / lost"]
    table = tables.significance_table(rows).droplevel("slice")[columns]
    return ConsoleTable(table, f"difference from {comparison.baseline.name}")


def _significance_tables(comparison: GroupComparison) -> dict[str, tuple[str, pd.DataFrame]]:
    """Returns a title and a table for each group that is compared with the baseline."""
    by_group = comparison.differences_from_baseline().groupby("group", sort=False)
    return {str(name): (figures.difference_title(rows), tables.significance_table(rows)) for name, rows in by_group}


def _html_page(content: dict[str, Any], out_dir: Path, live: LiveView | None) -> str:
    """Returns the page; its figures are in the folder."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["without_repeats"] = without_repeats
    environment.filters["as_text"] = tables.as_text
    environment.filters["listed"] = tables.listed
    environment.globals["picture"] = lambda file: _picture(out_dir / file, has_version=live is not None)
    files = resources.files("medssr.reports")
    template = environment.from_string(files.joinpath("page.html").read_text("utf-8"))
    scripts = ["page.js"] if live is None else ["page.js", "watch.js"]
    script = "".join(files.joinpath(name).read_text("utf-8") for name in scripts)
    return template.render(content, live=live, script=Markup(script))


@dataclass(frozen=True, slots=True)
class _Picture:
    """A PNG of the page: its address, and its size in pixels, so that the page keeps room for it."""

    address: str
    width: int
    height: int


def _picture(file: Path, *, has_version: bool) -> _Picture:
    """Returns a PNG; a browser takes one with a version from its cache until it changes."""
    content = file.read_bytes()
    width, height = struct.unpack(">II", content[16:24])  # of the header, which stands first
    version = f"?{hashlib.sha256(content).hexdigest()[:16]}" if has_version else ""
    return _Picture(f"{file.name}{version}", width, height)


def _shown(comparison: GroupComparison, all_scores: pd.DataFrame, out_dir: Path, *, is_live: bool) -> dict[str, Any]:
    """Returns what else the page shows; its figures are written on the way.

    A page that is served links to no folder: its browser sees nothing but the page.
    """
    runs, palette = comparison.runs, palette_of(comparison)
    is_alone = len(runs) == 1
    has_links = not is_live
    return {
        "runs": runs,
        "stories": _stories(comparison, _MAX_STORIES_OF_ONE if is_alone else _MAX_STORIES_OF_MANY),
        "draft_sets": draft_sets(runs, _MAX_DRAFT_SETS, _MAX_DRAFTS_OF_ONE if is_alone else _MAX_DRAFTS_OF_MANY),
        "costs": [[(cost, _linked(cost.folder, out_dir, has_links)) for cost in step_costs(run)] for run in runs],
        "run_folders": [_linked(run.folder, out_dir, has_links) for run in runs],
        "repeat_commands": [repeat_command(run) for run in runs],
        "examples": comparison.examples,
        "config_table": tables.config_table(runs),
        "sample_counts": [] if all_scores.empty else sorted(all_scores["num_samples"].unique()),
        "labels": tables.label_table(runs),
        "has_few_valid_votes": any(labels.has_few_valid_votes for labels, _ in tables.runs_by_labels(runs)),
        "tables_of_runs": tables.tables_of_runs(runs, all_scores),
        "accuracy_figures": list(figures.draw_accuracy(all_scores, palette, out_dir)),
        "difference_figures": list(figures.draw_differences(comparison, palette, out_dir)),
        "sweep_figures": list(figures.draw_sweeps(comparison, palette, out_dir)),
        "training_figures": list(figures.draw_training(comparison, palette, out_dir)),
        "time_figures": list(figures.draw_step_times([group.runs[0] for group in comparison.groups], out_dir)),
        "reliability_figures": list(figures.draw_reliability(runs, palette, out_dir)),
        "label_figures": list(figures.draw_label_calibration(runs, out_dir)),
    }


def _stories(comparison: GroupComparison, num_examples: int) -> list[tuple[str, Trajectory]]:
    """Returns questions with the answers of a run's models, for the first run of the first few groups."""
    firsts = [group.runs[0] for group in comparison.groups[:_MAX_GROUPS_WITH_STORIES]]
    return [(run.name, story) for run in firsts for story in trajectories(run, num_examples)]


def repeat_command(run: Run) -> str | None:
    """Returns the command line that repeats a run; None where it is not known, as of an evaluation from Python."""
    if run.record.training or run.record.labels is not None:
        return shlex.join(["medssr-pipeline", *run.record.overrides])
    return next((cost.command for cost in step_costs(run)), None)


@dataclass(frozen=True, slots=True)
class _Linked:
    """A folder, with its address from the page where it is there."""

    path: str
    href: str | None


def _linked(folder: Path, out_dir: Path, has_links: bool) -> _Linked:
    is_there = has_links and folder.is_dir()
    absolute = folder.resolve() if is_there else folder
    relative = os.path.relpath(absolute, out_dir.resolve())
    return _Linked(str(folder), quote(f"{relative}/") if is_there else None)


def _markdown_page(content: dict[str, Any]) -> str:
    """Returns the tables of the page as Markdown, and what was not compared."""
    titles = {
        "accuracy": "Accuracy: mean over n questions of the fraction of right samples, 95% interval",
        "seeds": "Mean over seeds, standard deviation between seeds",
        "model_differences": "Differences between models of a run on the same n questions, 95% interval, corrected p",
        "calibration": "Expected calibration error of the agreement between samples",
    }
    sections = [f"## {title}\n\n{markdown(content[name])}" for name, title in titles.items() if len(content[name])]
    if content["groups"] is not None:
        title = f"Groups: mean over seeds, 95% interval, difference from {content['baseline']}"
        table = markdown(content["groups"], content["setting_note"])
        sections.insert(0, f"## {escape_markdown(title)}\n\n{table}")
    differences = content["differences"].values()
    sections += [f"### {escape_markdown(title)}\n\n{markdown(table)}" for title, table in differences]
    reasons = [f"- {escape_markdown(f'{each.what}: {each.reason}')}\n" for each in content["left_out"]]
    sections += ["## Not compared\n\n" + "".join(reasons)] if reasons else []
    return "\n".join(sections)
