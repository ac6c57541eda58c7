"""Configurations: runs that differ in their seed alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from medssr.reports.runs import Run
from medssr.reports.settings import SEED, Settings, distinct
from medssr.utils.naming import changes_results, job_name


@dataclass(frozen=True, slots=True)
class Configuration:
    """Runs of one configuration, one for each seed.

    Attributes:
        name: The settings, by their short names, in which it differs from those that it is shown with.
        settings: The values of these, by full key.
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
        """The overrides of the runs but for the seed."""
        return _without_seed(self.runs[0])

    @property
    def benchmarks(self) -> list[str]:
        """The benchmarks of the last model of any of the runs."""
        return list(dict.fromkeys(name for run in self.runs for name in run.record.models[-1].benchmarks))

    def is_called(self, name: str) -> bool:
        """Returns whether it has that name, or all of the settings that the name lists, with short or full keys."""
        full = {f"{key}={value}" for key, value in self.settings.items()}
        asked = {text.strip() for text in name.split(",")}
        return name == self.name or asked <= {*self.name.split(","), *full, *self.overrides}


def group_by_configuration(runs: Sequence[Run], settings: Settings) -> list[Configuration]:
    """Returns the configurations of some runs in order of appearance, no two of one name.

    A run whose seed its configuration has already is one by itself: one seed twice is no second seed.

    Args:
        runs: The runs.
        settings: In which they differ.
    """
    times: Counter[str] = Counter()
    groups: dict[str, list[int]] = {}
    for place, run in enumerate(runs):
        config, named = run.record.config, sorted(filter(changes_results, _without_seed(run)))
        whole = json.dumps([config, named], sort_keys=True, default=str)
        rest = {key: value for key, value in config.items() if key != SEED}
        key = json.dumps([rest, named, times[whole]], sort_keys=True, default=str)
        times[whole] += 1
        groups.setdefault(key, []).append(place)
    firsts = [places[0] for places in groups.values()]
    names = distinct(settings.label(place, without=[SEED]) or _own_name(runs[place]) for place in firsts)
    return [
        Configuration(
            name,
            {key: value for key, value in settings.values[places[0]].items() if key != SEED},
            sorted((runs[place] for place in places), key=lambda run: _seed(run).zfill(12)),
        )
        for name, places in zip(names, groups.values(), strict=True)
    ]


def _seed(run: Run) -> str:
    return str(run.record.config.get(SEED))


def _without_seed(run: Run) -> list[str]:
    return [text for text in run.record.overrides if not text.startswith(f"{SEED}=")]


def _own_name(run: Run) -> str:
    """Returns what a run is called without its seed where nothing tells it apart from others."""
    return job_name(_without_seed(run)) if run.record.overrides else run.name
