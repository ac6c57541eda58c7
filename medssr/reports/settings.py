"""The settings in which runs differ, their shortest names, and what runs are called by them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from medssr.reports.runs import Run, model_name, read_hydra_file
from medssr.utils.naming import changes_results

SEED = "seed"


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in which some runs differ.

    Attributes:
        names: What each setting is called, by its full key; the seed is the last.
        values: By run, the value of each as text, by full key. What a run does not have is not there.
    """

    names: dict[str, str]
    values: list[dict[str, str]]

    def label(self, place: int, *, without: Sequence[str] = ()) -> str:
        """Returns what tells the run at a place apart, such as "model=tiny_llama,seed=1"; empty where nothing does.

        Args:
            place: Of the run.
            without: Keys to leave out.
        """
        found = self.values[place]
        keys = [key for key in self.names if key in found and key not in without]
        return ",".join(f"{self.names[key]}={found[key]}" for key in keys)


def differing_settings(runs: Sequence[Run]) -> Settings:
    """Returns the settings that overrides of some of the runs name and in which the runs differ.

    A run that does not name a setting has the value that it was composed with, where its folder says so. Runs of which
    neither is known, such as evaluations by themselves, have no settings.
    """
    named = [overridden(run.record.overrides) for run in runs]
    keys = sorted({key for found in named for key in found}, key=lambda key: (key == SEED, key))
    complete = [
        {key: given[key] for key in keys if key in given} | _composed(run, [key for key in keys if key not in given])
        for run, given in zip(runs, named, strict=True)
    ]
    known = [found for found in complete if found]
    varying = [key for key in keys if len({_comparable(found.get(key)) for found in known}) > 1]
    shown = {key: _shown_values({found[key] for found in known if key in found}) for key in varying}
    values = [{key: shown[key][found[key]] for key in varying if key in found} for found in complete]
    return Settings(short_names(varying), values)


def name_runs(runs: Iterable[Run]) -> list[Run]:
    """Returns the runs, each named by the settings in which it differs from the others.

    A run of which none is known keeps its name. No two have the same: the second "qwen" becomes "qwen (2)".
    """
    runs = list(runs)
    settings = differing_settings(runs)
    names = distinct(settings.label(place) or run.name for place, run in enumerate(runs))
    return [replace(run, record=replace(run.record, run=name)) for run, name in zip(runs, names, strict=True)]


def distinct(names: Iterable[str]) -> list[str]:
    """Returns the names, with a number behind one that was there before.

    Example:
        >>> distinct(["qwen", "llama", "qwen"])
        ['qwen', 'llama', 'qwen (2)']
    """
    times: Counter[str] = Counter()
    result = []
    for name in names:
        times[name] += 1
        result.append(name if times[name] == 1 else f"{name} ({times[name]})")
    return result


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Returns as many last parts of each key as no other of them ends with.

    Example:
        >>> short_names(["synthesis.rare_share", "optim.lr", "model"])
        {'synthesis.rare_share': 'rare_share', 'optim.lr': 'lr', 'model': 'model'}
        >>> short_names(["generator.model.path", "model.path"])
        {'generator.model.path': 'generator.model.path', 'model.path': 'model.path'}
    """
    ends = {key: [key[found.start() :].lstrip("./") for found in re.finditer(r"^|[./]", key)][::-1] for key in keys}
    times = Counter(end for found in ends.values() for end in found)
    return {key: next((end for end in found if times[end] == 1), key) for key, found in ends.items()}


def overridden(overrides: Sequence[str]) -> dict[str, str]:
    """Returns the values that overrides give to what changes results, by key; "~" is that of a key that is removed.

    Example:
        >>> overridden(["+reward=format", "~retriever", "logger=csv", "grpo.beta=0.1"])
        {'reward': 'format', 'retriever': '~', 'grpo.beta': '0.1'}
    """
    found = {}
    for text in filter(changes_results, overrides):
        key, _, value = text.partition("=")
        found[key.lstrip("+~")] = "~" if key.startswith("~") else value
    return found


def as_number(text: str) -> float | None:
    """Returns the number that a text is, or None.

    Example:
        >>> as_number("1e-6"), as_number("nan"), as_number("8B")
        (1e-06, None, None)
    """
    return float(text) if re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", text) else None


def _composed(run: Run, keys: Sequence[str]) -> dict[str, str]:
    """Returns the values of some keys that a run was composed with: of a setting its value, of a group its option."""
    config = read_hydra_file(run.folder, "config") if keys else None
    if config is None:
        return {}
    options = _value(read_hydra_file(run.folder, "hydra"), "hydra.runtime.choices") or {}
    found = {key: options[key] if key in options else _value(config, key) for key in keys}
    return {key: _text(value) for key, value in found.items() if isinstance(value, bool | int | float | str)}


def _value(config: Any, key: str) -> Any:
    """Returns what stands at a dotted key; None where nothing does."""
    for part in key.split("."):
        if not isinstance(config, Mapping) or part not in config:
            return None
        config = config[part]
    return config


def _text(value: bool | int | float | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _comparable(text: str | None) -> str | float | None:
    """Returns what is equal for equal values: 0.5 and 0.50 are."""
    number = None if text is None else as_number(text)
    return text if number is None else number


def _shown_values(values: Iterable[str]) -> dict[str, str]:
    """Returns the text that shows each value of a setting: of a path its end, where the ends differ."""
    short = {value: model_name(value) if "/" in value else value for value in values}
    return short if len(set(short.values())) == len(short) else {value: value for value in short}
