"""Pictures of scores: accuracy and invalid rates, differences between runs, agreement against accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medssr.evaluation.comparison import Comparison
from medssr.evaluation.scoring import SliceScore
from medssr.reports.plots import COLOURS, GRID, new_figure, shorten
from medssr.reports.runs import Run
from medssr.reports.summary import p_text
from medssr.statistics import Calibration

SIGNIFICANT = 0.05

_BASE_COLOUR = "#8a8a8a"
_ROW_HEIGHT = 0.185  # inches


@dataclass(frozen=True, slots=True)
class _Row:
    """One model of one run at its height in the picture."""

    y: float
    label: str
    colour: str
    score: SliceScore


def plot_accuracy(runs: Sequence[Run], benchmark: str, slice_name: str, path: Path) -> None:
    """Draws accuracy with its interval and, beside it, the invalid rate: one row for each model of each run.

    A dotted line marks the accuracy of always answering A where all runs agree on it.
    """
    rows, headers, bottom = _layout(runs, benchmark, slice_name)
    with new_figure(path, height=0.9 + _ROW_HEIGHT * bottom) as figure:
        axes, invalid = figure.subplots(1, 2, sharey=True, width_ratios=[4, 1])
        for row in rows:
            estimate, colour = row.score.accuracy, row.colour
            axes.plot([estimate.low, estimate.high], [row.y] * 2, color=colour, linewidth=1.6, solid_capstyle="butt")
            axes.plot([estimate.value], [row.y], "o", color=colour, markersize=4.5)
            invalid.barh(row.y, row.score.invalid.value, height=0.55, color=colour)
        for y, name in headers:
            text = axes.text(0.01, y + 0.05, name, transform=axes.get_yaxis_transform(), va="center", weight="bold")
            text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.8})
        baselines = {row.score.always_a.value for row in rows}
        if len(baselines) == 1:
            axes.axvline(baselines.pop(), color="#555555", linestyle=":", linewidth=1, label="always answer A")
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False, fontsize=8, borderaxespad=0)
        axes.set_yticks([row.y for row in rows], [shorten(row.label, 22) for row in rows])
        axes.set_xlim(*_accuracy_range(runs, benchmark))
        axes.set_ylim(bottom - 0.5, -0.6)
        axes.set_xlabel(f"accuracy, 95% interval, {_range_text([row.score.num_questions for row in rows])} questions")
        highest = max(row.score.invalid.value for row in rows)
        invalid.set_xlim(0, max(0.01, 1.1 * highest))
        invalid.set_xticks([0, max(0.01, round(highest, 2))])
        invalid.set_xlabel("invalid")
        for part in (axes, invalid):
            part.tick_params(axis="y", length=0)
            part.grid(axis="x", color=GRID, linewidth=0.8)


def plot_differences(rows: Sequence[tuple[str, Comparison]], path: Path) -> None:
    """Draws the difference of each row with its interval; a full dot marks a corrected p-value of at most 0.05.

    Args:
        rows: Each with its label.
        path: The picture.
    """
    with new_figure(path, height=0.9 + 1.2 * _ROW_HEIGHT * len(rows)) as figure:
        axes = figure.add_subplot()
        axes.axvline(0, color="#555555", linewidth=1)
        for y, (_, found) in enumerate(rows):
            p = found.p_value if found.p_adjusted is None else found.p_adjusted
            colour = COLOURS[0] if found.difference >= 0 else COLOURS[1]
            face = colour if p <= SIGNIFICANT else "white"
            axes.plot([found.low, found.high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
            axes.plot([found.difference], [y], "o", color=colour, markerfacecolor=face, markersize=5)
            axes.text(1.02, y, p_text(p), transform=axes.get_yaxis_transform(), va="center", fontsize=8)
        axes.set_yticks(range(len(rows)), [shorten(label, 24) for label, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        axes.locator_params(axis="x", nbins=5)
        axes.set_xlabel("difference of accuracy, 95% interval; right: corrected p")


def plot_reliability(calibrations: Mapping[str, Calibration], path: Path) -> None:
    """Draws, for each model, how often its majority is right against how far its samples agree, with Wilson intervals.

    On the diagonal the majority is right as often as the samples agree on it.
    """
    num_legend_rows = len(calibrations)
    with new_figure(path, height=3.2 + _ROW_HEIGHT * num_legend_rows, width=4.2) as figure:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color="#999999", linestyle=":", linewidth=1)
        for number, (name, found) in enumerate(calibrations.items()):
            colour, shift = COLOURS[number % len(COLOURS)], 0.006 * (number - (len(calibrations) - 1) / 2)
            places = [each.agreement + shift for each in found.bins]
            label = f"{shorten(name, 34)} (error {found.expected_error:.3f})"
            for place, each in zip(places, found.bins, strict=True):
                axes.plot([place, place], [each.accuracy_low, each.accuracy_high], color=colour, linewidth=1.2)
            axes.plot(
                places,
                [each.accuracy for each in found.bins],
                "o-",
                color=colour,
                markersize=4,
                linewidth=0.7,
                label=label,
            )
        axes.set_xlim(0, 1.03)
        axes.set_ylim(-0.02, 1.02)
        axes.grid(color=GRID, linewidth=0.8)
        axes.set_xlabel("agreement (votes for the answer / valid votes)")
        axes.set_ylabel("share of answers that are right")
        figure.legend(loc="outside lower left", frameon=False, fontsize=8)


def _layout(runs: Sequence[Run], benchmark: str, slice_name: str) -> tuple[list[_Row], list[tuple[float, str]], float]:
    """Returns the rows, the names above those of runs with several models, and the height of it all in rows."""
    models = list(dict.fromkeys(model.name for run in runs for model in run.record.models))
    rows: list[_Row] = []
    headers: list[tuple[float, str]] = []
    bottom = 0.0
    for run in runs:
        found = [(model.name, run.slice_score(model.name, benchmark, slice_name)) for model in run.record.models]
        scored = [(name, score) for name, score in found if score is not None]
        has_header = len(run.record.models) > 1 or run.record.models[0].name != run.name
        if scored and has_header:
            headers.append((bottom, shorten(run.name, 44)))
            bottom += 1
        for name, score in scored:
            colour = _model_colour(models, name) if has_header else COLOURS[0]
            rows.append(_Row(bottom, name if has_header else run.name, colour, score))
            bottom += 1
        bottom += 0.25 if scored and has_header else 0
    return rows, headers, bottom


def _accuracy_range(runs: Sequence[Run], benchmark: str) -> tuple[float, float]:
    """Returns one range for all slices of a benchmark, so that pictures side by side have the same scale."""
    slices = [
        found
        for run in runs
        for model in run.record.models
        if benchmark in model.benchmarks
        for found in model.benchmarks[benchmark].slices.values()
    ]
    low = min(min(found.accuracy.low, found.always_a.value) for found in slices)
    high = max(max(found.accuracy.high, found.always_a.value) for found in slices)
    margin = 0.03 * (high - low) + 0.005
    return low - margin, high + margin


def _model_colour(models: Sequence[str], name: str) -> str:
    if name == "base":
        return _BASE_COLOUR
    others = [model for model in models if model != "base"]
    return COLOURS[others.index(name) % len(COLOURS)]


def _range_text(sizes: Sequence[int]) -> str:
    return str(min(sizes)) if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
