"""The colours of a page: one for each model of a run, or for each group of runs, the same on all of its pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medssr.reports.comparison import GroupComparison
from medssr.reports.groups import SweepAxis, sweep_axes
from medssr.reports.settings import distinct

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.cm import ScalarMappable

# That can be told apart, also by most who see few colours.
DISTINCT = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#b8860b", "#7a3e9d", "#6b8e23")
# Of the model before training, of what has no colour of its own, and of grids.
BASE, NEUTRAL, GRID = "#8a8a8a", "#444444", "#e4e4e4"
_BASE_MODEL = "base"


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of the groups and of the models of a page.

    Where the page has one group, its models have colours; where it has several, all models of a group but the first
    one, "base", have that of the group.

    Attributes:
        groups: By the name of the group.
        models: By the name of the model; empty where the page has several groups.
        group_of_run: The group of each run, by the name of the run, with a number where the name is repeated.
    """

    groups: dict[str, str]
    models: dict[str, str]
    group_of_run: dict[str, str]

    def of_model(self, group: str, model: str) -> str:
        """Returns the colour of a model of a group, and of the stage of training that made it."""
        if model == _BASE_MODEL:
            return BASE
        return self.models[model] if model in self.models else self.groups[group]

    def of_rows(self, table: pd.DataFrame) -> list[str]:
        """Returns the colours of the rows of `medssr.reports.tables.scores`."""
        groups = [self.group_of_run[run] for run in table["run"]]
        return [self.of_model(group, model) for group, model in zip(groups, table["model"], strict=True)]


def palette_of(comparison: GroupComparison) -> Palette:
    """Returns the colours of a page; many groups are coloured by the number that was swept, or by their order."""
    names = [group.name for group in comparison.groups]
    models: dict[str, str] = {}
    if len(names) == 1:
        group = comparison.groups[0]
        stages = [stage for run in group.runs for stage in run.curves]  # one under way has no model yet
        trained = [model for model in dict.fromkeys([*group.models, *stages]) if model != _BASE_MODEL]
        models = {model: DISTINCT[number % len(DISTINCT)] for number, model in enumerate(trained)}
    if len(names) <= len(DISTINCT):
        groups = dict(zip(names, DISTINCT, strict=False))
    else:
        axes = sweep_axes(comparison.groups, comparison.setting_names)
        by_order = SweepAxis("", "", {name: float(number) for number, name in enumerate(names)}, {})
        groups = axis_colours(axes[0] if axes else by_order)
    of_runs = [group.name for group in comparison.groups for _ in group.runs]
    return Palette(groups, models, dict(zip(distinct(run.name for run in comparison.runs), of_runs, strict=True)))


def axis_colours(axis: SweepAxis) -> dict[str, str]:
    """Returns the colour of each group by its number on an axis."""
    from matplotlib.colors import to_hex

    colours = axis_scale(axis).to_rgba(np.array(list(axis.values.values())))  # [group, 4]
    return {name: to_hex((r, g, b, a)) for name, (r, g, b, a) in zip(axis.values, colours.tolist(), strict=True)}


def axis_scale(axis: SweepAxis) -> ScalarMappable:
    """Returns the colours of the numbers of an axis, logarithmic where the axis is, also for a bar of colours."""
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, LogNorm, Normalize

    norm = (LogNorm if axis.is_logarithmic else Normalize)(min(axis.values.values()), max(axis.values.values()))
    viridis = matplotlib.colormaps["viridis"]
    return ScalarMappable(norm, ListedColormap([viridis(number) for number in range(int(0.92 * viridis.N))]))
