"""Every plot of a report: scores, differences, calibration, sweeps, training curves, cost against accuracy."""

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
_MAX_CURVES = len(DISTINCT)  # that can be told apart by colour
_MAX_NAMED_POINTS = 6
_MAX_HEADING = 32  # characters of the heading of a run that fit into the width of its axes
_LEAST_TICK_GAP = 0.14  # of the width of axes, so that the numbers below them stand apart
_LEGEND_ROW = 0.19  # inches
_LINES: tuple[Any, ...] = ("-", "--", ":", "-.")


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
        _legend(figure, axes)
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


def plot_sweep(axis: SweepAxis, table: pd.DataFrame, colours: Mapping[str, str], path: Path | None = None) -> Figure:
    """Draws accuracy with its interval against a swept number: a panel for each slice, a curve for what else is equal.

    A point has the colour of its group, and a curve its own kind of line. The table holds the rows of
    `GroupComparison.last_models` for one benchmark.
    """
    curves = list(dict.fromkeys(axis.curves.values()))
    slices = list(dict.fromkeys(table["slice"]))
    is_named = 1 < len(curves) <= _MAX_CURVES
    with new_figure(path, height=0.5 + 1.9 * len(slices) + (_LEGEND_ROW * len(curves) if is_named else 0)) as figure:
        panels = _panels(figure, len(slices))
        for axes, name in zip(panels, slices, strict=True):
            rows = table[table["slice"] == name]
            for number, curve in enumerate(curves):
                points = rows[rows["group"].map(axis.curves) == curve]
                _sweep_curve(axes, axis, points, colours, number, len(curves), curve)
            axes.set_ylabel(f"accuracy, {name}")
        panels[-1].set_xlabel(axis.name)
        if axis.is_logarithmic:
            numbers = sorted(set(axis.values.values()))
            panels[-1].set_xscale("log")
            panels[-1].set_xticks(numbers, _spaced_labels(numbers))
            panels[-1].minorticks_off()
        if is_named:
            _legend(figure, panels[0])
    return figure


def _sweep_curve(
    axes: Axes,
    axis: SweepAxis,
    points: pd.DataFrame,
    colours: Mapping[str, str],
    number: int,
    num_curves: int,
    label: str,
) -> None:
    """Draws one curve, moved a little to the side so that the intervals of several do not hide each other."""
    is_told_apart = num_curves <= _MAX_CURVES
    offset = 0.01 * (number - (num_curves - 1) / 2) if is_told_apart else 0.0
    low, high = min(axis.values.values()), max(axis.values.values())
    values = points["group"].map(axis.values).astype(float).sort_values()
    points = points.loc[values.index]
    x = values * (high / low) ** offset if axis.is_logarithmic else values + offset * (high - low)
    line = _LINES[number % len(_LINES)] if is_told_apart else "-"
    axes.plot(x, points["accuracy"], line, color="#777777", linewidth=1.2, label=label or None)
    of_points = points["group"].map(colours)
    axes.scatter(x, points["accuracy"], c=of_points, s=18, zorder=3)
    ends = points[["accuracy_low", "accuracy_high"]].dropna()  # a point may have no interval
    axes.vlines(x[ends.index], ends["accuracy_low"], ends["accuracy_high"], colors=of_points[ends.index], linewidth=1.2)


def _spaced_labels(numbers: Sequence[float]) -> list[str]:
    """Returns the labels of ascending numbers on a logarithmic axis; one that would lie on others is empty.

    The first and the last have theirs always.

    Example:
        >>> _spaced_labels([1e-5, 1e-4, 1.1e-4, 1e-3])
        ['1e-05', '0.0001', '', '0.001']
    """
    width = np.log(numbers[-1] / numbers[0])
    labels, last = [], -np.inf
    for number in numbers:
        from_left, from_right = np.log(number / numbers[0]) / width, np.log(numbers[-1] / number) / width
        is_end = number in (numbers[0], numbers[-1])
        has_room = is_end or (from_left - last >= _LEAST_TICK_GAP and from_right >= _LEAST_TICK_GAP)
        labels.append(f"{number:g}" if has_room else "")
        last = from_left if has_room else last
    return labels


# By metric and group, the curve of each seed over the steps.
Curves = Mapping[str, Mapping[str, Sequence["pd.Series"]]]


def plot_training(
    curves: Curves, axis: SweepAxis | None, colours: Mapping[str, str], path: Path | None = None
) -> Figure:
    """Draws metrics over the steps, a panel each: a group's seeds as logged (thin) and a running mean of their mean.

    All values are finite. A bar of colours tells the swept number when there are too many groups for a legend.
    """
    groups = list(dict.fromkeys(name for by_group in curves.values() for name in by_group))
    is_named = len(groups) <= _MAX_CURVES
    all_seeds = (seed for by_group in curves.values() for seeds in by_group.values() for seed in seeds)
    window = max(1, max(map(len, all_seeds)) // 12)
    num_legend_rows = len(groups) if 1 < len(groups) <= _MAX_CURVES else 0
    with new_figure(path, height=1.0 + 1.9 * len(curves) + _LEGEND_ROW * num_legend_rows) as figure:
        panels = _panels(figure, len(curves))
        for axes, (metric, by_group) in zip(panels, curves.items(), strict=True):
            for name in groups:
                if name in by_group:
                    _training_curve(axes, by_group[name], window, colours[name], name)
            axes.set_ylabel(DRAWN[metric])
        panels[0].set_title(f"thick: mean of up to {window} steps" if window > 1 else "as logged")
        panels[-1].set_xlabel("optimiser step")
        panels[-1].locator_params(axis="x", integer=True)
        if num_legend_rows:
            _legend(figure, panels[0])
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
    with new_figure(path, height=3.0 + _LEGEND_ROW * ((len(labels) + 2) // 3)) as figure:
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


def plot_pareto(points: pd.DataFrame, unit: str, colours: Mapping[str, str], path: Path | None = None) -> Figure:
    """Draws the `accuracy` of each group against its `cost`; a line joins the groups that none beats in both."""
    best = pareto_front(points)
    with new_figure(path, height=3.2 + _LEGEND_ROW * min(len(best), _MAX_NAMED_POINTS)) as figure:
        axes = figure.add_subplot()
        others = points.drop(best.index)
        axes.scatter(others["cost"], others["accuracy"], c=[colours[name] for name in others.index], s=14, alpha=0.6)
        axes.plot(best["cost"], best["accuracy"], color="#555555", linewidth=1)
        for number, (name, row) in enumerate(best.iterrows()):
            label = shorten(str(name), 56) if number < _MAX_NAMED_POINTS else None
            axes.plot([row["cost"]], [row["accuracy"]], "o", color=colours[str(name)], label=label)
        axes.locator_params(axis="x", nbins=4)  # numbers of many digits stand apart
        axes.set_xlabel(unit)
        axes.set_ylabel("accuracy, mean over benchmarks")
        axes.grid(color=GRID, linewidth=0.8)
        _legend(figure, axes)
    return figure


def pareto_front(points: pd.DataFrame) -> pd.DataFrame:
    """Returns the points that no other has both at most the cost and at least the accuracy of, cheapest first.

    Example:
        >>> import pandas as pd
        >>> pareto_front(pd.DataFrame({"cost": [1.0, 2.0, 3.0], "accuracy": [0.5, 0.4, 0.6]}, index=list("abc")))
           cost  accuracy
        a   1.0       0.5
        c   3.0       0.6
    """
    ordered = points.sort_values(["cost", "accuracy"], ascending=[True, False])
    best_before = ordered["accuracy"].cummax().shift(fill_value=-np.inf)
    return ordered[ordered["accuracy"] > best_before]


def _panels(figure: Figure, number: int) -> list[Axes]:
    """Returns axes below each other that share their x axis."""
    panels: list[Axes] = list(np.atleast_1d(figure.subplots(number, 1, sharex=True)))
    for axes in panels:
        axes.grid(color=GRID, linewidth=0.8)
    return panels


def _legend(figure: Figure, axes: Axes) -> None:
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
