"""Pictures of configurations: accuracy against what is swept, learning curves, cost against accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medssr.reports.configuration_table import ConfigurationRow
from medssr.reports.curves import DRAWN, Curve, mean_curve
from medssr.reports.plots import COLOURS, GRID, new_figure, running_mean, shorten
from medssr.reports.swept import Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_CURVES = len(COLOURS)  # that can be told apart by colour
_MAX_NAMED_POINTS = 6
_LOG_RATIO = 20  # between the largest and the smallest number of a sweep, from which its axis is logarithmic


def plot_swept(sweep: Sweep, rows: Mapping[str, Sequence[ConfigurationRow]], path: Path) -> None:
    """Draws accuracy with its interval against a swept number: one panel a slice, one curve for what else is equal.

    Args:
        sweep: What is on the x axis.
        rows: By slice, a row for each configuration.
        path: The picture.
    """
    groups = list(dict.fromkeys(sweep.groups.values()))
    is_named = 1 < len(groups) <= _MAX_CURVES
    height = 0.5 + 1.9 * len(rows) + (0.19 * len(groups) if is_named else 0)
    with new_figure(path, height=height) as figure:
        panels = np.atleast_1d(figure.subplots(len(rows), 1, sharex=True))
        for axes, (name, found) in zip(panels, rows.items(), strict=True):
            for number, group in enumerate(groups):
                colour = COLOURS[number % len(COLOURS)] if len(groups) <= _MAX_CURVES else "#777777"
                points = [row for row in found if sweep.groups[row.configuration] == group]
                points.sort(key=lambda row: sweep.values[row.configuration])
                _points(axes, sweep, points, colour, group or None, _offset(number, len(groups)))
            axes.set_ylabel(f"accuracy, {name}")
            axes.grid(color=GRID, linewidth=0.8)
        panels[-1].set_xlabel(sweep.name)
        if _is_wide(sweep):
            numbers = sorted(set(sweep.values.values()))
            panels[-1].set_xscale("log")
            panels[-1].set_xticks(numbers, [f"{number:g}" for number in numbers])
            panels[-1].minorticks_off()
        if is_named:
            handles, labels = panels[0].get_legend_handles_labels()
            names = [shorten(text, 60) for text in labels]
            figure.legend(handles, names, loc="outside lower left", frameon=False, fontsize=8)


def _is_wide(sweep: Sweep) -> bool:
    """Returns whether the numbers of a sweep are drawn by their logarithm."""
    low, high = min(sweep.values.values()), max(sweep.values.values())
    return low > 0 and high / low >= _LOG_RATIO


def _offset(number: int, num_groups: int) -> float:
    """Returns by how much of the axis a curve is moved to the side, so that intervals do not hide each other."""
    return 0.01 * (number - (num_groups - 1) / 2) if num_groups <= _MAX_CURVES else 0.0


def _place(sweep: Sweep, value: float, offset: float) -> float:
    low, high = min(sweep.values.values()), max(sweep.values.values())
    return value * (high / low) ** offset if _is_wide(sweep) else value + offset * (high - low)


def _points(
    axes: Axes, sweep: Sweep, rows: Sequence[ConfigurationRow], colour: str, label: str | None, offset: float
) -> None:
    places = [_place(sweep, sweep.values[row.configuration], offset) for row in rows]
    axes.plot(places, [row.accuracy for row in rows], "o-", color=colour, markersize=4, linewidth=1.2, label=label)
    for place, row in zip(places, rows, strict=True):
        if row.low is not None and row.high is not None:
            axes.plot([place, place], [row.low, row.high], color=colour, linewidth=1.2, alpha=0.7)


def plot_learning_curves(curves: Mapping[str, Mapping[str, Sequence[Curve]]], sweep: Sweep | None, path: Path) -> None:
    """Draws metrics over the steps, a panel each: of each configuration a running mean of its mean over seeds.

    Args:
        curves: By metric and configuration, the curve of each seed.
        sweep: What colours many curves; None where no number is swept.
        path: The picture.
    """
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    names = list(dict.fromkeys(name for found in curves.values() for name in found))
    is_named = len(names) <= _MAX_CURVES
    values = sweep.values if sweep is not None else {name: number for number, name in enumerate(names)}
    scale = Normalize(min(values.values()), max(values.values()))
    colours = matplotlib.colormaps["viridis"]
    height = 1.0 + 1.9 * len(curves) + (0.19 * len(names) if is_named else 0)
    with new_figure(path, height=height) as figure:
        panels = np.atleast_1d(figure.subplots(len(curves), 1, sharex=True))
        for axes, (metric, found) in zip(panels, curves.items(), strict=True):
            for number, name in enumerate(names):
                if name in found:
                    colour = COLOURS[number % len(COLOURS)] if is_named else colours(0.92 * scale(values[name]))
                    _learning(axes, found[name], colour, shorten(name, 56))
            axes.set_ylabel(DRAWN[metric])
            axes.grid(color=GRID, linewidth=0.8)
        panels[-1].set_xlabel("optimiser step")
        if is_named and len(names) > 1:
            handles, labels = panels[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower left", frameon=False, fontsize=8)
        elif not is_named and sweep is not None:
            figure.colorbar(ScalarMappable(scale, colours), ax=panels, label=sweep.name)


def _learning(axes: Axes, seeds: Sequence[Curve], colour: Any, label: str) -> None:
    steps, values = mean_curve(seeds)
    smooth = running_mean(values, max(1, len(values) // 12))
    axes.plot(steps, smooth, color=colour, marker="o" if len(steps) == 1 else None, linewidth=1.4, label=label)


def plot_pareto(points: Sequence[tuple[str, float, float]], unit: str, path: Path) -> None:
    """Draws accuracy against cost; a line joins the configurations that none beats in both.

    Args:
        points: Name, cost and accuracy of each.
        unit: Of the cost.
        path: The picture.
    """
    best = pareto_front(points)
    with new_figure(path, height=3.2 + 0.19 * min(len(best), _MAX_NAMED_POINTS)) as figure:
        axes = figure.add_subplot()
        others = [point for point in points if point not in best]
        axes.plot([cost for _, cost, _ in others], [value for *_, value in others], "o", color="#999999", markersize=4)
        axes.plot([cost for _, cost, _ in best], [value for *_, value in best], color="#555555", linewidth=1)
        for number, (name, cost, value) in enumerate(best):
            label = shorten(name, 56) if number < _MAX_NAMED_POINTS else None
            axes.plot([cost], [value], "o", color=COLOURS[number % len(COLOURS)], markersize=6, label=label)
        axes.set_xlabel(unit)
        axes.set_ylabel("accuracy, mean over benchmarks")
        axes.grid(color=GRID, linewidth=0.8)
        figure.legend(loc="outside lower left", frameon=False, fontsize=8)


def pareto_front(points: Sequence[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    """Returns the points that no other has both at most the cost and at least the accuracy of, cheapest first.

    Example:
        >>> pareto_front([("a", 1.0, 0.5), ("b", 2.0, 0.4), ("c", 3.0, 0.6)])
        [('a', 1.0, 0.5), ('c', 3.0, 0.6)]
    """
    front: list[tuple[str, float, float]] = []
    for point in sorted(points, key=lambda point: (point[1], -point[2])):
        if not front or point[2] > front[-1][2]:
            front.append(point)
    return front
