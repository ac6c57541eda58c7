"""Groups of runs that are equal but for their seed, and the numbers in which groups differ (sweep axes)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from medssr.errors import InputError
from medssr.reports.runs import Run
from medssr.reports.settings import SEED, Settings, as_number, distinct
from medssr.utils.naming import changes_results, job_name

_LOG_RATIO = 20  # between the largest and the smallest number of a sweep, from which its axis is logarithmic


@dataclass(frozen=True, slots=True)
class RunGroup:
    """Runs that are equal but for their seed. One run alone is a group of one.

    Attributes:
        name: The settings, by their short names, in which the group differs from the others.
        settings: The values of these settings, by full key.
        runs: The runs in order of their seeds.
    """

    name: str
    settings: dict[str, str]
    runs: list[Run]

    @property
    def seeds(self) -> list[str]:
        """The seeds of the runs."""
        return [_seed(run) for run in self.runs]

    @property
    def overrides(self) -> list[str]:
        """The overrides of the runs without the seed."""
        return _without_seed(self.runs[0])

    @property
    def models(self) -> list[str]:
        """The names of the runs' models in order of training, the last one at the end."""
        return list(dict.fromkeys(model.name for run in self.runs for model in run.record.models))

    def has_settings(self, text: str) -> bool:
        """Returns whether the group has the name `text` or all settings that it lists, with short or full keys."""
        full = {f"{key}={value}" for key, value in self.settings.items()}
        listed = {part.strip() for part in text.split(",")}
        return text == self.name or listed <= {*self.name.split(","), *full, *self.overrides}


def group_runs(runs: Sequence[Run], settings: Settings) -> list[RunGroup]:
    """Returns the groups of some runs in order of appearance, each with a name of its own.

    A run that repeats a seed of its group starts another group: the same seed twice is not a second seed.
    """
    repeats: Counter[str] = Counter()
    groups: dict[str, list[int]] = {}
    for index, run in enumerate(runs):
        config, overrides = run.record.config, sorted(filter(changes_results, _without_seed(run)))
        with_seed = json.dumps([config, overrides], sort_keys=True, default=str)
        without_seed = {key: value for key, value in config.items() if key != SEED}
        key = json.dumps([without_seed, overrides, repeats[with_seed]], sort_keys=True, default=str)
        repeats[with_seed] += 1
        groups.setdefault(key, []).append(index)
    firsts = [indices[0] for indices in groups.values()]
    names = distinct(settings.label(index, without=[SEED]) or _plain_name(runs[index]) for index in firsts)
    return [
        RunGroup(
            name,
            {key: value for key, value in settings.values[indices[0]].items() if key != SEED},
            sorted((runs[index] for index in indices), key=lambda run: _seed(run).zfill(12)),
        )
        for name, indices in zip(names, groups.values(), strict=True)
    ]


def find_baseline(groups: Sequence[RunGroup], name: str | None) -> RunGroup:
    """Returns the group with a name, or with settings that it alone has; the first group for None.

    Raises:
        InputError: When no group, or more than one, fits.
    """
    if name is None:
        return groups[0]
    matches = [group for group in groups if group.name == name]
    matches = matches or [group for group in groups if group.has_settings(name)]
    if len(matches) != 1:
        number = "none" if not matches else f"{len(matches)} of them"
        names = "; ".join(group.name for group in groups)
        raise InputError(f"baseline: {name!r} names {number}; the groups of runs are: {names}.")
    return matches[0]


@dataclass(frozen=True, slots=True)
class SweepAxis:
    """A number that varies over groups.

    Attributes:
        key: Its full key, such as `synthesis.rare_share`.
        name: Its short name, such as `rare_share`.
        values: The number of each group, by the group's name.
        curves: The other settings of each group as text, by the group's name; equal texts are points of one curve.
    """

    key: str
    name: str
    values: dict[str, float]
    curves: dict[str, str]

    @property
    def is_logarithmic(self) -> bool:
        """Whether its numbers are so far apart that a linear scale would show most of them as one."""
        low, high = min(self.values.values()), max(self.values.values())
        return low > 0 and high / low >= _LOG_RATIO


def sweep_axes(groups: Sequence[RunGroup], setting_names: dict[str, str]) -> list[SweepAxis]:
    """Returns the settings, given by full key with their short names, that are a number in every group."""
    axes = []
    for key, name in setting_names.items():
        numbers = {group.name: as_number(group.settings.get(key, "")) for group in groups}
        values = {group: number for group, number in numbers.items() if number is not None}
        if len(values) == len(groups):
            others = {other: short for other, short in setting_names.items() if other != key}
            curves = {
                group.name: ", ".join(
                    f"{short}={group.settings[other]}" for other, short in others.items() if other in group.settings
                )
                for group in groups
            }
            axes.append(SweepAxis(key, name, values, curves))
    return axes


def _seed(run: Run) -> str:
    return str(run.record.config.get(SEED))


def _without_seed(run: Run) -> list[str]:
    return [text for text in run.record.overrides if not text.startswith(f"{SEED}=")]


def _plain_name(run: Run) -> str:
    """Returns the name of a group that no setting tells apart from the others."""
    return job_name(_without_seed(run)) if run.record.overrides else run.name
