"""Which figures a report shows; each is drawn as a PNG into the report's folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medssr.evaluation.scoring import ALL, COMMON, RARE
from medssr.reports import group_plots, plots
from medssr.reports.colours import Palette
from medssr.reports.comparison import GroupComparison
from medssr.reports.groups import sweep_axes
from medssr.reports.metrics import DRAWN, MFU, PART_SECONDS, STEP_SECONDS, TOKENS_PER_SECOND
from medssr.reports.runs import Run, model_label
from medssr.reports.settings import distinct
from medssr.reports.tables import COSTS, listed, runs_by_labels
from medssr.statistics import Calibration

if TYPE_CHECKING:
    import pandas as pd

_MAX_MODELS_IN_ONE_FIGURE = 6  # curves that can be told apart
_MAX_GROUPS_WITH_A_FIGURE = 12
_MAX_TIME_FIGURES = 12


@dataclass(frozen=True, slots=True)
class Figure:
    """A PNG of the page: its file name, what it shows and a note below it."""

    file: str
    title: str
    note: str = ""


def draw_accuracy(scores: pd.DataFrame, palette: Palette, out_dir: Path) -> Iterator[Figure]:
    """Draws one figure for each benchmark of the table; one alone is divided into its rare and its common questions."""
    benchmarks = list(scores["benchmark"].unique())
    for number, benchmark in enumerate(benchmarks):
        rows = scores[scores["benchmark"] == benchmark]
        slices = set(rows["slice"]) if len(benchmarks) == 1 else set()
        for slice_name in [name for name in (RARE, COMMON) if name in slices] or [ALL]:
            file = f"accuracy_{number}_{slug(benchmark)}_{slice_name}.png"
            shown = rows[rows["slice"] == slice_name]
            plots.plot_accuracy(shown, plots.accuracy_limits(rows), palette.of_rows(shown), out_dir / file)
            yield Figure(file, f"{benchmark}, {slice_name} questions")


def draw_training(comparison: GroupComparison, palette: Palette, out_dir: Path) -> Iterator[Figure]:
    """Draws the curves of each stage: reward and, where they were logged, held-out accuracy, entropy and agreement."""
    axes = sweep_axes(comparison.groups, comparison.setting_names)
    for number, stage in enumerate(dict.fromkeys(stage for run in comparison.runs for stage in run.curves)):
        curves: dict[str, dict[str, list[pd.Series]]] = {}
        num_skipped = 0
        for metric in DRAWN:
            for group in comparison.groups:
                for run in group.runs:
                    curve = run.curves.get(stage, {}).get(metric)
                    if curve is not None and np.isfinite(curve).any():
                        num_skipped += int((~np.isfinite(curve)).sum())
                        curves.setdefault(metric, {}).setdefault(group.name, []).append(curve[np.isfinite(curve)])
        if curves:
            file = f"training_{number}_{slug(stage)}.png"
            colours = {group.name: palette.of_model(group.name, stage) for group in comparison.groups}
            plots.plot_training(curves, axes[0] if axes else None, colours, out_dir / file)
            note = f"{num_skipped} logged values are not finite numbers and are left out." if num_skipped else ""
            yield Figure(file, stage, note)


def draw_step_times(runs: Sequence[Run], out_dir: Path) -> Iterator[Figure]:
    """Draws where the seconds of each stage's steps went, one figure a stage of a run, for the first few."""
    stages = [(run, stage) for run in runs for stage in run.curves if STEP_SECONDS in run.curves[stage]]
    for number, (run, stage) in enumerate(stages[:_MAX_TIME_FIGURES]):
        curves = run.curves[stage]
        parts = {name: curves[name] for name in PART_SECONDS if name in curves}
        if parts and all(np.isfinite(curve).all() for curve in (curves[STEP_SECONDS], *parts.values())):
            file = f"time_{number}_{slug(stage)}.png"
            plots.plot_step_times(curves[STEP_SECONDS], parts, out_dir / file)
            yield Figure(file, (f"{run.name}, {stage}" if len(runs) > 1 else stage) + _speed(curves))


def _speed(curves: Mapping[str, pd.Series]) -> str:
    """Returns the medians over the steps of tokens per second and utilisation, where they are known, as text."""
    rate, mfu = (curves[name].median() if name in curves else np.nan for name in (TOKENS_PER_SECOND, MFU))
    text = f": {rate:,.0f} tokens a second" if np.isfinite(rate) else ""
    return f"{text}, MFU of the update {mfu:.1%}" if text and np.isfinite(mfu) else text


def draw_label_calibration(runs: Sequence[Run], out_dir: Path) -> Iterator[Figure]:
    """Draws one figure for each set of labels whose truth is known; runs that share their labels share it."""
    for number, (labels, names) in enumerate(runs_by_labels(runs)):
        if any(band.accuracy is not None and band.n > 0 for band in labels.bands):
            file = f"labels_{number}.png"
            plots.plot_label_calibration(labels.bands, out_dir / file)
            yield Figure(file, listed(names) if len(runs) > 1 else "all bands")


def draw_reliability(runs: Sequence[Run], palette: Palette, out_dir: Path) -> Iterator[Figure]:
    """Draws one figure a benchmark with the agreement and accuracy of all models, where they are few enough."""
    by_benchmark: dict[str, dict[str, Calibration]] = {}
    colours: dict[str, str] = {}
    for run_name, run in zip(distinct(run.name for run in runs), runs, strict=True):
        for model in run.record.models:
            name = model.name if len(runs) == 1 else model_label(run_name, model.name)
            colours[name] = palette.of_model(palette.group_of_run[run_name], model.name)
            for benchmark, score in model.benchmarks.items():
                if score.calibration is not None and score.calibration.n > 0:
                    by_benchmark.setdefault(benchmark, {})[name] = score.calibration
    for number, (benchmark, calibrations) in enumerate(by_benchmark.items()):
        if len(calibrations) <= _MAX_MODELS_IN_ONE_FIGURE:
            file = f"calibration_{number}_{slug(benchmark)}.png"
            plots.plot_reliability(calibrations, [colours[name] for name in calibrations], out_dir / file)
            yield Figure(file, benchmark)


def draw_differences(comparison: GroupComparison, palette: Palette, out_dir: Path) -> Iterator[Figure]:
    """Draws the differences from the baseline: one figure a group where these are few, else one a benchmark."""
    table = comparison.differences_from_baseline()
    if table["group"].nunique() <= _MAX_GROUPS_WITH_A_FIGURE:
        for number, (group, rows) in enumerate(table.groupby("group", sort=False)):
            if rows["benchmark"].nunique() > 1:
                rows = rows[rows["slice"] == ALL]
                labels = list(rows["benchmark"])
            else:
                labels = list(rows["benchmark"] + ", " + rows["slice"])
            file = f"difference_{number}_{slug(str(group))}.png"
            plots.plot_differences(rows, labels, [palette.groups[str(group)]] * len(rows), out_dir / file)
            yield Figure(file, difference_title(rows))
        return
    for number, (benchmark, rows) in enumerate(table[table["slice"] == ALL].groupby("benchmark", sort=False)):
        file = f"difference_{number}_{slug(str(benchmark))}.png"
        colours = [palette.groups[group] for group in rows["group"]]
        plots.plot_differences(rows, list(rows["group"]), colours, out_dir / file)
        yield Figure(file, f"{benchmark}: each group minus {comparison.baseline.name}")


def difference_title(rows: pd.DataFrame) -> str:
    """Returns what is compared in rows of one group that have a difference from the baseline."""
    row = rows.iloc[0]
    return f"{model_label(row['group'], row['model'])} minus {model_label(row['baseline'], row['baseline_model'])}"


def draw_sweeps(comparison: GroupComparison, palette: Palette, out_dir: Path) -> Iterator[Figure]:
    """Draws accuracy against each swept number, one figure a benchmark; and accuracy against cost."""
    table = comparison.last_models()
    for axis in sweep_axes(comparison.groups, comparison.setting_names):
        for number, (benchmark, rows) in enumerate(table.groupby("benchmark", sort=False)):
            slices = [name for name in (RARE, COMMON) if name in set(rows["slice"])] or [ALL]
            file = f"swept_{number}_{slug(axis.key)}_{slug(str(benchmark))}.png"
            group_plots.plot_sweep(axis, rows[rows["slice"].isin(slices)], palette.groups, out_dir / file)
            yield Figure(file, f"{benchmark}: accuracy by {axis.name}")
    yield from _draw_pareto(table, palette, out_dir)


def _draw_pareto(table: pd.DataFrame, palette: Palette, out_dir: Path) -> Iterator[Figure]:
    """Draws the mean accuracy over benchmarks against the first cost that is known of every group."""
    points = table[table["slice"] == ALL].groupby("group", sort=False)[["accuracy", *COSTS]].mean()
    for column, unit in COSTS.items():
        costs = points[column]
        if len(points) > 1 and costs.notna().all() and costs.max() > 0:
            with_cost = points.rename(columns={column: "cost"})
            group_plots.plot_pareto(with_cost, f"{unit} of a run", palette.groups, out_dir / "pareto.png")
            title = f"accuracy against {unit}"
            yield Figure("pareto.png", title, "Joined: the groups that no other beats in both.")
            return


def slug(text: str) -> str:
    """Returns a part of a file name; the number beside it keeps equal slugs apart."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:40]
