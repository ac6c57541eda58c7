"""Plots of scores: accuracy and invalid rates, differences from a baseline, agreement against accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.reports.plots import COLOURS, GRID, draw_interval, new_figure, shorten
from medssr.reports.runs import AgreementBand
from medssr.reports.tables import p_text
from medssr.statistics import Calibration, wilson_interval

if TYPE_CHECKING:
    import pandas as pd

_SIGNIFICANT = 0.05
_BASE_COLOUR = "#8a8a8a"
_ROW_HEIGHT = 0.185  # inches
_GAP = 0.25  # rows between runs


def plot_accuracy(table: pd.DataFrame, limits: tuple[float, float], path: Path) -> None:
    """Draws accuracy with its interval and, beside it, the invalid rate: one row for each model of each run.

    A dotted line marks the accuracy of always answering A where it is the same in all rows.

    Args:
        table: The rows of `medssr.reports.tables.scores` for one slice of a benchmark.
        limits: The ends of the axis of accuracy.
        path: The PNG.
    """
    heights, headings, bottom = _layout(table)
    with new_figure(path, height=0.9 + _ROW_HEIGHT * bottom) as figure:
        axes, invalid = figure.subplots(1, 2, sharey=True, width_ratios=[4, 1])
        for y, row, colour in zip(heights, table.itertuples(), _colours(table), strict=True):
            draw_interval(axes, [row.accuracy_low, row.accuracy_high], [y, y], colour)
            axes.plot([row.accuracy], [y], "o", color=colour, markersize=4.5)
            invalid.barh(y, row.invalid_rate, height=0.55, color=colour)
        for y, name in headings:
            text = axes.text(0.01, y + 0.05, name, transform=axes.get_yaxis_transform(), va="center", weight="bold")
            text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.8})
        if table["always_a_accuracy"].nunique() == 1:
            always_a = table["always_a_accuracy"].iloc[0]
            axes.axvline(always_a, color="#555555", linestyle=":", linewidth=1, label="always answer A")
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False, fontsize=8, borderaxespad=0)
        labels = table["model"] if headings else table["run"]
        axes.set_yticks(heights, [shorten(label, 22) for label in labels])
        axes.set_xlim(*limits)
        axes.set_ylim(bottom - 0.5, -0.6)
        sizes = table["num_questions"]
        num_questions = str(sizes.min()) if sizes.min() == sizes.max() else f"{sizes.min()} to {sizes.max()}"
        axes.set_xlabel(f"accuracy, 95% interval, {num_questions} questions")
        highest = table["invalid_rate"].max()
        invalid.set_xlim(0, max(0.01, 1.1 * highest))
        invalid.set_xticks([0, max(0.01, round(highest, 2))])
        invalid.set_xlabel("invalid")
        for part in (axes, invalid):
            part.tick_params(axis="y", length=0)
            part.grid(axis="x", color=GRID, linewidth=0.8)


def accuracy_limits(table: pd.DataFrame) -> tuple[float, float]:
    """Returns one range for all slices of a benchmark, so that plots side by side have the same scale."""
    low = table[["accuracy_low", "always_a_accuracy"]].min(axis=None)
    high = table[["accuracy_high", "always_a_accuracy"]].max(axis=None)
    margin = 0.03 * (high - low) + 0.005
    return low - margin, high + margin


def plot_differences(table: pd.DataFrame, labels: Sequence[str], path: Path) -> None:
    """Draws each difference from the baseline with its interval.

    A full dot marks a corrected p-value of at most 0.05 or, over several seeds, an interval without 0.

    Args:
        table: Rows of `GroupComparison.table` that have a difference.
        labels: A label for each row.
        path: The PNG.
    """
    with new_figure(path, height=0.9 + 1.2 * _ROW_HEIGHT * len(table)) as figure:
        axes = figure.add_subplot()
        axes.axvline(0, color="#555555", linewidth=1)
        for y, row in enumerate(table.itertuples()):
            has_test = not isnan(row.p_adjusted)
            is_significant = row.p_adjusted <= _SIGNIFICANT if has_test else row.low > 0 or row.high < 0
            colour = COLOURS[0] if row.difference >= 0 else COLOURS[1]
            draw_interval(axes, [row.low, row.high], [y, y], colour)
            face = colour if is_significant else "white"
            axes.plot([row.difference], [y], "o", color=colour, markerfacecolor=face, markersize=5)
            text = p_text(row.p_adjusted) if has_test else f"{row.num_seeds} seeds"
            axes.text(1.02, y, text, transform=axes.get_yaxis_transform(), va="center", fontsize=8)
        axes.set_yticks(range(len(table)), [shorten(label, 24) for label in labels])
        axes.set_ylim(len(table) - 0.5, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        axes.locator_params(axis="x", nbins=5)
        p_note = "; right: corrected p" if table["p_adjusted"].notna().any() else ""
        axes.set_xlabel(f"difference of accuracy, 95% interval{p_note}")


def plot_reliability(calibrations: Mapping[str, Calibration], path: Path) -> None:
    """Draws, for each model, how often its majority is right against how far its samples agree, with Wilson intervals.

    On the diagonal the majority is right as often as the samples agree on it.
    """
    with new_figure(path, height=3.2 + _ROW_HEIGHT * len(calibrations), width=4.2) as figure:
        axes = figure.add_subplot()
        _diagonal(axes, "votes for the answer", "fraction of answers that are right")
        for number, (name, calibration) in enumerate(calibrations.items()):
            colour, shift = COLOURS[number % len(COLOURS)], 0.006 * (number - (len(calibrations) - 1) / 2)
            agreements = [each.agreement + shift for each in calibration.bins]
            for x, each in zip(agreements, calibration.bins, strict=True):
                draw_interval(axes, [x, x], [each.accuracy_low, each.accuracy_high], colour, linewidth=1.2)
            accuracies = [each.accuracy for each in calibration.bins]
            label = f"{shorten(name, 34)} (error {calibration.expected_error:.3f})"
            axes.plot(agreements, accuracies, "o-", color=colour, markersize=4, linewidth=0.7, label=label)
        axes.set_xlim(0, 1.03)
        figure.legend(loc="outside lower left", frameon=False, fontsize=8)


def plot_label_calibration(bands: Sequence[AgreementBand], path: Path) -> None:
    """Draws label accuracy with its Wilson interval against agreement, with n at each band.

    On the diagonal a label is right as often as the votes agree on it.
    """
    scored = [(band, band.accuracy) for band in bands if band.accuracy is not None and band.n > 0]
    note: dict[str, Any] = {"xycoords": "axes fraction", "fontsize": 8, "color": "#444444"}
    with new_figure(path, height=3.4, width=4.2) as figure:
        axes = figure.add_subplot()
        _diagonal(axes, "votes for the label", "fraction of labels that are right")
        for band, accuracy in scored:
            middle = (band.low + band.high) / 2
            ends = wilson_interval(round(accuracy * band.n), band.n)
            draw_interval(axes, [middle, middle], [ends.low, ends.high], COLOURS[0], linewidth=1.4)
            draw_interval(axes, [band.low, band.high], [accuracy, accuracy], COLOURS[0], linewidth=2.6)
            above = note | {"xycoords": ("data", "axes fraction"), "ha": "center"}
            axes.annotate(str(band.n), (middle, 1.02), **above)
        axes.annotate("n =", (-0.02, 1.02), ha="right", **note)
        axes.set_xlim(max(0.0, min((band.low for band, _ in scored), default=0.0) - 0.05), 1.01)


def _diagonal(axes: Any, votes: str, fraction: str) -> None:
    axes.plot([0, 1], [0, 1], color="#999999", linestyle=":", linewidth=1)
    axes.set_ylim(-0.02, 1.02)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_xlabel(f"agreement ({votes} / valid votes)")
    axes.set_ylabel(fraction)


def _layout(table: pd.DataFrame) -> tuple[list[float], list[tuple[float, str]], float]:
    """Returns the height of each row, the headings above the runs, and the height of it all in rows.

    Runs have headings unless each is one model of the run's name, as evaluations are.
    """
    has_headings = any(
        not run.startswith(model) for run, model in zip(table["run"], table["model"], strict=True)
    ) or table["run"].duplicated().any()  # fmt: skip
    heights: list[float] = []
    headings: list[tuple[float, str]] = []
    bottom = 0.0
    for name, rows in table.groupby("run", sort=False):
        if has_headings:
            headings.append((bottom, shorten(str(name), 44)))
            bottom += 1
        heights += [bottom + number for number in range(len(rows))]
        bottom += len(rows) + (_GAP if has_headings else 0)
    return heights, headings, bottom


def _colours(table: pd.DataFrame) -> list[str]:
    """Returns a colour for each row: one for each model, and grey for the base model."""
    others = [model for model in table["model"].unique() if model != "base"]
    if not table["run"].duplicated().any() and len(others) == len(table):
        return [COLOURS[0]] * len(table)
    return [_BASE_COLOUR if m == "base" else COLOURS[others.index(m) % len(COLOURS)] for m in table["model"]]
