"""The colours of a page: one for each model of a run, or for each group of runs, the same on all of its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medssr.reports.comparison import GroupComparison
from medssr.reports.groups import sweep_axes
from medssr.reports.settings import distinct

if TYPE_CHECKING:
    import pandas as pd

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
        values = [axes[0].values[name] for name in names] if axes else list(range(len(names)))
        groups = dict(zip(names, _scaled(values), strict=True))
    of_runs = [group.name for group in comparison.groups for _ in group.runs]
    return Palette(groups, models, dict(zip(distinct(run.name for run in comparison.runs), of_runs, strict=True)))


def _scaled(values: Sequence[float]) -> list[str]:
    import matplotlib
    from matplotlib.colors import Normalize, to_hex

    scale, viridis = Normalize(min(values), max(values)), matplotlib.colormaps["viridis"]
    return [to_hex(viridis(0.92 * scale(value))) for value in values]
