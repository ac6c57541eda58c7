"""The plots over groups of runs: accuracy against a swept number, and accuracy against cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medssr.reports.colours import GRID
from medssr.reports.groups import SweepAxis
from medssr.reports.plots import LEGEND_ROW, MAX_CURVES, draw_legend, new_figure, panels_of, shorten

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_NAMED_POINTS = 6
_LEAST_TICK_GAP = 0.14  # of the width of axes, so that the numbers below them stand apart
_LINES: tuple[Any, ...] = ("-", "--", ":", "-.")


def plot_sweep(axis: SweepAxis, table: pd.DataFrame, colours: Mapping[str, str], path: Path | None = None) -> Figure:
    """Draws accuracy with its interval against a swept number: a panel for each slice, a curve for what else is equal.

    A point has the colour of its group, and a curve its own kind of line. The table holds the rows of
    `GroupComparison.last_models` for one benchmark.
    """
    curves = list(dict.fromkeys(axis.curves.values()))
    slices = list(dict.fromkeys(table["slice"]))
    is_named = 1 < len(curves) <= MAX_CURVES
    with new_figure(path, height=0.5 + 1.9 * len(slices) + (LEGEND_ROW * len(curves) if is_named else 0)) as figure:
        panels = panels_of(figure, len(slices))
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
            draw_legend(figure, panels[0])
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
    is_told_apart = num_curves <= MAX_CURVES
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


def plot_pareto(points: pd.DataFrame, unit: str, colours: Mapping[str, str], path: Path | None = None) -> Figure:
    """Draws the `accuracy` of each group against its `cost`; a line joins the groups that none beats in both."""
    best = pareto_front(points)
    with new_figure(path, height=3.2 + LEGEND_ROW * min(len(best), _MAX_NAMED_POINTS)) as figure:
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
        draw_legend(figure, axes)
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
