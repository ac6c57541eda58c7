"""The plots of a report: scores, differences, calibration, training curves; those over groups are in `group_plots`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medssr.reports.colours import DISTINCT, GRID, NEUTRAL, axis_scale
from medssr.reports.groups import SweepAxis
from medssr.reports.metrics import DRAWN, PART_SECONDS
from medssr.reports.runs import AgreementBand
from medssr.reports.tables import p_text
from medssr.statistics import Calibration, wilson_interval

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Of the parts of a training step, in their order; no model or group has one of them.
_PART_COLOURS = ("#1f3b57", "#8c564b", "#b5a642", "#3f7f93", "#c08497", "#5f6f52", "#a0785a", "#9b9bc4", "#cfcfcf")
_WIDTH = 4.6  # inches: its text stays legible on a phone
_SIGNIFICANT = 0.05
_ROW_HEIGHT = 0.185  # inches
_GAP = 0.25  # rows between runs
MAX_CURVES = len(DISTINCT)  # that can be told apart by colour
_MAX_HEADING = 32  # characters of the heading of a run that fit into the width of its axes
LEGEND_ROW = 0.19  # inches


def plot_accuracy(
    table: pd.DataFrame, limits: tuple[float, float], colours: Sequence[str], path: Path | None = None
) -> Figure:
    """Draws accuracy with its interval and, beside it, the invalid rate: one row for each model of each run.

    The table holds the rows of `medssr.reports.tables.scores` for one slice of a benchmark. A dotted line marks the
    accuracy of always answering A where it is the same in all rows.
    """
    heights, headings, bottom = _layout(table)
    with new_figure(path, height=0.9 + _ROW_HEIGHT * bottom) as figure:
        axes, invalid = figure.subplots(1, 2, sharey=True, width_ratios=[4, 1])
        axes.hlines(heights, table["accuracy_low"], table["accuracy_high"], colors=colours, linewidth=1.6)
        axes.scatter(table["accuracy"], heights, color=colours, s=20)
        invalid.barh(heights, table["invalid_rate"], height=0.55, color=colours)
        for y, name in headings:
            text = axes.text(0.01, y + 0.05, name, transform=axes.get_yaxis_transform(), va="center", weight="bold")
            text.set_in_layout(False)  # a long name takes no room from the axes
            text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.8})
        if table["always_a_accuracy"].nunique() == 1:
            always_a = table["always_a_accuracy"].iloc[0]
            axes.axvline(always_a, color="#555555", linestyle=":", linewidth=1, label="always answer A")
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False, fontsize=8, borderaxespad=0)
        labels = table["model"] if headings or table["run"].duplicated().any() else table["run"]
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
    return figure


def accuracy_limits(table: pd.DataFrame) -> tuple[float, float]:
    """Returns one range for all slices of a benchmark, so that plots side by side have the same scale."""
    low = table[["accuracy_low", "always_a_accuracy"]].min(axis=None)
    high = table[["accuracy_high", "always_a_accuracy"]].max(axis=None)
    margin = 0.03 * (high - low) + 0.005
    return low - margin, high + margin


def plot_differences(
    table: pd.DataFrame, labels: Sequence[str], colours: Sequence[str], path: Path | None = None
) -> Figure:
    """Draws each difference from the baseline with its interval.

    A full dot marks a corrected p-value of at most 0.05 or, over several seeds, an interval without 0.
    """
    with new_figure(path, height=0.9 + 1.2 * _ROW_HEIGHT * len(table)) as figure:
        axes = figure.add_subplot()
        axes.axvline(0, color="#555555", linewidth=1)
        for y, (row, colour) in enumerate(zip(table.itertuples(), colours, strict=True)):
            has_test = not isnan(row.p_adjusted)
            is_significant = row.p_adjusted <= _SIGNIFICANT if has_test else row.low > 0 or row.high < 0
            axes.hlines(y, row.low, row.high, colors=colour, linewidth=1.6)
            face = colour if is_significant else "white"
            axes.plot([row.difference], [y], "o", color=colour, markerfacecolor=face, markersize=5)
            text = p_text(row.p_adjusted) if has_test else f"{row.num_seeds} seed{'s' if row.num_seeds > 1 else ''}"
            axes.text(1.02, y, text, transform=axes.get_yaxis_transform(), va="center", fontsize=8)
        axes.set_yticks(range(len(table)), [shorten(label, 24) for label in labels])
        axes.set_ylim(len(table) - 0.5, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        axes.locator_params(axis="x", nbins=5)
        p_note = "; right: corrected p" if table["p_adjusted"].notna().any() else ""
        axes.set_xlabel(f"difference of accuracy, 95% interval{p_note}")
    return figure


def plot_reliability(
    calibrations: Mapping[str, Calibration], colours: Sequence[str], path: Path | None = None
) -> Figure:
    """Draws, for each model, how often its majority is right against how far its samples agree, with Wilson intervals.

    On the diagonal the majority is right as often as the samples agree on it.
    """
    with new_figure(path, height=3.2 + _ROW_HEIGHT * len(calibrations), width=4.2) as figure:
        axes = figure.add_subplot()
        _diagonal(axes, "votes for the answer", "fraction of answers that are right")
        named = zip(calibrations.items(), colours, strict=True)
        for number, ((name, calibration), colour) in enumerate(named):
            shift = 0.006 * (number - (len(calibrations) - 1) / 2)
            agreements = [each.agreement + shift for each in calibration.bins]
            lows, highs = ([getattr(each, f"accuracy_{end}") for each in calibration.bins] for end in ("low", "high"))
            axes.vlines(agreements, lows, highs, colors=colour, linewidth=1.2)
            accuracies = [each.accuracy for each in calibration.bins]
            label = f"{shorten(name, 34)} (error {calibration.expected_error:.3f})"
            axes.plot(agreements, accuracies, "o-", color=colour, markersize=4, linewidth=0.7, label=label)
        axes.set_xlim(0, 1.03)
        draw_legend(figure, axes)
    return figure


def plot_label_calibration(bands: Sequence[AgreementBand], path: Path | None = None) -> Figure:
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
            axes.vlines(middle, ends.low, ends.high, colors=NEUTRAL, linewidth=1.4)
            axes.hlines(accuracy, band.low, band.high, colors=NEUTRAL, linewidth=2.6)
            above = note | {"xycoords": ("data", "axes fraction"), "ha": "center"}
            axes.annotate(str(band.n), (middle, 1.02), **above)
        axes.annotate("n =", (-0.02, 1.02), ha="right", **note)
        axes.set_xlim(max(0.0, min((band.low for band, _ in scored), default=0.0) - 0.05), 1.01)
    return figure


def _diagonal(axes: Any, votes: str, fraction: str) -> None:
    axes.plot([0, 1], [0, 1], color="#999999", linestyle=":", linewidth=1)
    axes.set_ylim(-0.02, 1.02)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_xlabel(f"agreement ({votes} / all votes)")
    axes.set_ylabel(fraction)


def _layout(table: pd.DataFrame) -> tuple[list[float], list[tuple[float, str]], float]:
    """Returns the height of each row, the headings above the runs, and the height of it all in rows.

    Runs have headings unless there is only one, or each is one model of the run's name, as evaluations are.
    """
    are_named_by_model = all(run.startswith(model) for run, model in zip(table["run"], table["model"], strict=True))
    has_headings = table["run"].nunique() > 1 and (not are_named_by_model or table["run"].duplicated().any())
    heights: list[float] = []
    headings: list[tuple[float, str]] = []
    bottom = 0.0
    for name, rows in table.groupby("run", sort=False):
        if has_headings:
            headings.append((bottom, shorten(str(name), _MAX_HEADING)))
            bottom += 1
        heights += [bottom + number for number in range(len(rows))]
        bottom += len(rows) + (_GAP if has_headings else 0)
    return heights, headings, bottom


# By metric and group, the curve of each seed over the steps.
Curves = Mapping[str, Mapping[str, Sequence["pd.Series"]]]


def plot_training(
    curves: Curves, axis: SweepAxis | None, colours: Mapping[str, str], path: Path | None = None
) -> Figure:
    """Draws metrics over the steps, a panel each: a group's seeds as logged (thin) and a running mean of their mean.

    All values are finite. A bar of colours tells the swept number when there are too many groups for a legend.
    """
    groups = list(dict.fromkeys(name for by_group in curves.values() for name in by_group))
    is_named = len(groups) <= MAX_CURVES
    all_seeds = (seed for by_group in curves.values() for seeds in by_group.values() for seed in seeds)
    window = max(1, max(map(len, all_seeds)) // 12)
    num_legend_rows = len(groups) if 1 < len(groups) <= MAX_CURVES else 0
    with new_figure(path, height=1.0 + 1.9 * len(curves) + LEGEND_ROW * num_legend_rows) as figure:
        panels = panels_of(figure, len(curves))
        for axes, (metric, by_group) in zip(panels, curves.items(), strict=True):
            for name in groups:
                if name in by_group:
                    _training_curve(axes, by_group[name], window, colours[name], name)
            axes.set_ylabel(DRAWN[metric])
        panels[0].set_title(f"thick: mean of up to {window} steps" if window > 1 else "as logged")
        panels[-1].set_xlabel("optimiser step")
        panels[-1].locator_params(axis="x", integer=True)
        if num_legend_rows:
            draw_legend(figure, panels[0])
        elif not is_named and axis is not None:
            figure.colorbar(axis_scale(axis), ax=panels, label=axis.name)
    return figure


def _training_curve(axes: Axes, seeds: Sequence[pd.Series], window: int, colour: Any, label: str) -> None:
    import pandas as pd

    mean = pd.concat(seeds).groupby(level=0).mean()  # at each step that any of the seeds has
    if window > 1 or len(seeds) > 1:
        for seed in seeds:
            axes.plot(seed.index, seed, color=colour, linewidth=0.6, alpha=0.35)
    marker = "o" if len(mean) == 1 else None
    smooth = mean.rolling(window, min_periods=1).mean()
    axes.plot(smooth.index, smooth, color=colour, marker=marker, markersize=4, linewidth=1.5, label=label)


def plot_step_times(whole: pd.Series, parts: Mapping[str, pd.Series], path: Path | None = None) -> Figure:
    """Draws the seconds of each step, a running mean over steps, stacked by part; the rest of the step is grey.

    All values are finite. A part of less than a thousandth of all seconds is left out.
    """
    import pandas as pd

    table = pd.DataFrame({name.removeprefix("time/"): curve for name, curve in parts.items()}).reindex(whole.index)
    table = table.fillna(0.0)
    has_area = list(table.sum() > whole.sum() / 1000)
    of_parts = dict(zip(PART_SECONDS, _PART_COLOURS, strict=False))
    colours = [*(of_parts[name] for name, is_drawn in zip(parts, has_area, strict=True) if is_drawn), "#e9e9e9"]
    table = table.loc[:, has_area]
    window = max(1, len(whole) // 12)
    smooth = table.rolling(window, min_periods=1).mean()
    rest = (whole.rolling(window, min_periods=1).mean() - smooth.sum(axis=1)).clip(lower=0)
    labels = [*smooth.columns, "rest"]
    with new_figure(path, height=3.0 + LEGEND_ROW * ((len(labels) + 2) // 3)) as figure:
        axes = figure.add_subplot()
        if len(whole) == 1:  # an area needs two steps
            axes.barh(labels, [*smooth.iloc[0], rest.iloc[0]], color=colours)
            axes.invert_yaxis()
            axes.set_xlabel("seconds")
        else:
            axes.stackplot(smooth.index, *(smooth[name] for name in smooth), rest, labels=labels, colors=colours)
            axes.set_xlim(whole.index[0], whole.index[-1])
            axes.locator_params(axis="x", integer=True)
            axes.set_ylim(bottom=0)
            axes.set_xlabel("training step")
            axes.set_ylabel("seconds")
            figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
        axes.set_title(f"mean of up to {window} steps" if window > 1 else "as logged")
    return figure


def panels_of(figure: Figure, number: int) -> list[Axes]:
    """Returns axes below each other that share their x axis."""
    panels: list[Axes] = list(np.atleast_1d(figure.subplots(number, 1, sharex=True)))
    for axes in panels:
        axes.grid(color=GRID, linewidth=0.8)
    return panels


def draw_legend(figure: Figure, axes: Axes) -> None:
    """Draws the legend below all panels of a figure, from the labels of one of them."""
    handles, labels = axes.get_legend_handles_labels()
    names = [shorten(label, 58) for label in labels]
    figure.legend(handles, names, loc="outside lower left", frameon=False, fontsize=8)


@contextmanager
def new_figure(path: Path | None, *, height: float, width: float = _WIDTH) -> Iterator[Figure]:
    """Yields a new figure, sizes in inches, and writes it to `path`, if there is one, when the drawing is done."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from medssr.reports.notebook_figure import NotebookFigure

    style: Any = {
        "font.size": 9,
        "text.parse_math": False,  # a "$" in a name starts no formula
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 9,
        "axes.titlelocation": "left",
        "axes.axisbelow": True,
    }
    with matplotlib.rc_context(style):
        figure = NotebookFigure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        if path is not None:
            figure.write_png(path)


def shorten(text: str, length: int) -> str:
    """Returns the text, its middle left out where it is longer than `length`.

    Example:
        >>> shorten("model=tiny_llama,seed=3", 12)
        'model=…eed=3'
    """
    text = " ".join(text.split())
    if len(text) <= length:
        return text
    head = length // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"
