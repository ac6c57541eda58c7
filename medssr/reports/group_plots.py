"""Plots of groups of runs: accuracy against a swept number, training curves, cost against accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medssr.reports.groups import SweepAxis
from medssr.reports.metrics import DRAWN
from medssr.reports.plots import COLOURS, GRID, draw_interval, new_figure, running_mean, shorten

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_CURVES = len(COLOURS)  # that can be told apart by colour
_MAX_NAMED_POINTS = 6
_LOG_RATIO = 20  # between the largest and the smallest number of a sweep, from which its axis is logarithmic
_LEGEND_ROW = 0.19  # inches


def plot_sweep(axis: SweepAxis, table: pd.DataFrame, path: Path) -> None:
    """Draws accuracy with its interval against a swept number: a panel for each slice, a curve for what else is equal.

    Args:
        axis: The number on the x axis.
        table: Rows of `GroupComparison.last_models` for one benchmark.
        path: The PNG.
    """
    curves = list(dict.fromkeys(axis.curves.values()))
    slices = list(dict.fromkeys(table["slice"]))
    is_named = 1 < len(curves) <= _MAX_CURVES
    with new_figure(path, height=0.5 + 1.9 * len(slices) + (_LEGEND_ROW * len(curves) if is_named else 0)) as figure:
        panels = np.atleast_1d(figure.subplots(len(slices), 1, sharex=True))
        for axes, name in zip(panels, slices, strict=True):
            rows = table[table["slice"] == name]
            for number, curve in enumerate(curves):
                points = rows[rows["group"].map(axis.curves) == curve]
                _sweep_curve(axes, axis, points, number, len(curves), curve)
            axes.set_ylabel(f"accuracy, {name}")
            axes.grid(color=GRID, linewidth=0.8)
        panels[-1].set_xlabel(axis.name)
        if _is_logarithmic(axis):
            numbers = sorted(set(axis.values.values()))
            panels[-1].set_xscale("log")
            panels[-1].set_xticks(numbers, [f"{number:g}" for number in numbers])
            panels[-1].minorticks_off()
        if is_named:
            _legend(figure, panels[0])


def _sweep_curve(
    axes: Axes, axis: SweepAxis, points: pd.DataFrame, number: int, num_curves: int, label: str
) -> None:  # fmt: skip
    """Draws one curve, moved a little to the side so that the intervals of several do not hide each other."""
    is_coloured = num_curves <= _MAX_CURVES
    offset = 0.01 * (number - (num_curves - 1) / 2) if is_coloured else 0.0
    colour = COLOURS[number % len(COLOURS)] if is_coloured else "#777777"
    low, high = min(axis.values.values()), max(axis.values.values())
    values = points["group"].map(axis.values).astype(float).sort_values()
    points = points.loc[values.index]
    x = values * (high / low) ** offset if _is_logarithmic(axis) else values + offset * (high - low)
    axes.plot(x, points["accuracy"], "o-", color=colour, markersize=4, linewidth=1.2, label=label or None)
    for position, row in zip(x, points.itertuples(), strict=True):
        ends = [row.accuracy_low, row.accuracy_high]  # NaN, which is not drawn, where there is no interval
        draw_interval(axes, [position, position], ends, colour, linewidth=1.2, alpha=0.7)


def _is_logarithmic(axis: SweepAxis) -> bool:
    low, high = min(axis.values.values()), max(axis.values.values())
    return low > 0 and high / low >= _LOG_RATIO


# By metric and group, the curve of each seed over the steps.
Curves = Mapping[str, Mapping[str, Sequence["pd.Series"]]]


def plot_training(curves: Curves, axis: SweepAxis | None, path: Path) -> None:
    """Draws metrics over the steps, a panel each: a group's seeds as logged (thin) and a running mean of their mean.

    Args:
        curves: The finite values of each metric in `DRAWN` that was logged.
        axis: The swept number that colours the curves when there are too many for a legend; None without one.
        path: The PNG.
    """
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    groups = list(dict.fromkeys(name for by_group in curves.values() for name in by_group))
    is_named = len(groups) <= _MAX_CURVES
    values = axis.values if axis is not None else {name: number for number, name in enumerate(groups)}
    scale = Normalize(min(values.values()), max(values.values()))
    viridis = matplotlib.colormaps["viridis"]
    all_seeds = (seed for by_group in curves.values() for seeds in by_group.values() for seed in seeds)
    window = max(1, max(map(len, all_seeds)) // 12)
    num_legend_rows = len(groups) if 1 < len(groups) <= _MAX_CURVES else 0
    with new_figure(path, height=1.0 + 1.9 * len(curves) + _LEGEND_ROW * num_legend_rows) as figure:
        panels = np.atleast_1d(figure.subplots(len(curves), 1, sharex=True))
        for axes, (metric, by_group) in zip(panels, curves.items(), strict=True):
            for number, name in enumerate(groups):
                if name in by_group:
                    colour = COLOURS[number] if is_named else viridis(0.92 * scale(values[name]))
                    _training_curve(axes, by_group[name], window, colour, name)
            axes.set_ylabel(DRAWN[metric])
            axes.grid(color=GRID, linewidth=0.8)
        panels[0].set_title(f"thick: mean of up to {window} steps" if window > 1 else "as logged")
        panels[-1].set_xlabel("optimiser step")
        if num_legend_rows:
            _legend(figure, panels[0])
        elif not is_named and axis is not None:
            figure.colorbar(ScalarMappable(scale, viridis), ax=panels, label=axis.name)


def _training_curve(axes: Axes, seeds: Sequence[pd.Series], window: int, colour: Any, label: str) -> None:
    mean = mean_curve(seeds)
    if window > 1 or len(seeds) > 1:
        for seed in seeds:
            axes.plot(seed.index, seed, color=colour, linewidth=0.6, alpha=0.35)
    marker = "o" if len(mean) == 1 else None
    smooth = running_mean(list(mean), window)
    axes.plot(mean.index, smooth, color=colour, marker=marker, markersize=4, linewidth=1.5, label=label)


def mean_curve(seeds: Sequence[pd.Series]) -> pd.Series:
    """Returns the mean of some curves at each step that any of them has."""
    import pandas as pd

    return pd.concat(seeds).groupby(level=0).mean()


def plot_pareto(points: pd.DataFrame, unit: str, path: Path) -> None:
    """Draws accuracy against cost; a line joins the groups that none beats in both.

    Args:
        points: The `cost` and `accuracy` of each group, by its name.
        unit: Of the cost.
        path: The PNG.
    """
    best = pareto_front(points)
    with new_figure(path, height=3.2 + _LEGEND_ROW * min(len(best), _MAX_NAMED_POINTS)) as figure:
        axes = figure.add_subplot()
        others = points.drop(best.index)
        axes.plot(others["cost"], others["accuracy"], "o", color="#999999", markersize=4)
        axes.plot(best["cost"], best["accuracy"], color="#555555", linewidth=1)
        for number, (name, row) in enumerate(best.iterrows()):
            label = shorten(str(name), 56) if number < _MAX_NAMED_POINTS else None
            axes.plot([row["cost"]], [row["accuracy"]], "o", color=COLOURS[number % len(COLOURS)], label=label)
        axes.set_xlabel(unit)
        axes.set_ylabel("accuracy, mean over benchmarks")
        axes.grid(color=GRID, linewidth=0.8)
        figure.legend(loc="outside lower left", frameon=False, fontsize=8)


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


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    names = [shorten(label, 58) for label in labels]
    figure.legend(handles, names, loc="outside lower left", frameon=False, fontsize=8)
