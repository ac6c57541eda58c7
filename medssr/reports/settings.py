"""The settings in which runs differ, their short names, and names of runs made of them."""

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
        names: The short name of each setting, by its full key; the seed is the last.
        values: For each run, the value of each setting as text, by full key, without settings that the run lacks.
    """

    names: dict[str, str]
    values: list[dict[str, str]]

    def label(self, index: int, *, without: Sequence[str] = ()) -> str:
        """Returns the settings that tell a run apart, such as "model=tiny_llama,seed=1"; empty where none does.

        Args:
            index: The index of the run.
            without: Keys to leave out.
        """
        values = self.values[index]
        keys = [key for key in self.names if key in values and key not in without]
        return ",".join(f"{self.names[key]}={values[key]}" for key in keys)


def differing_settings(runs: Sequence[Run]) -> Settings:
    """Returns the settings that overrides of some of the runs name and in which the runs differ.

    A run that does not name a setting has the value that it was composed with, where its folder has the configuration.
    Runs with neither, such as single evaluations, have no settings.
    """
    named = [overridden(run.record.overrides) for run in runs]
    keys = sorted({key for values in named for key in values}, key=lambda key: (key == SEED, key))
    complete = [
        {key: values[key] for key in keys if key in values} | _composed(run, [key for key in keys if key not in values])
        for run, values in zip(runs, named, strict=True)
    ]
    with_settings = [values for values in complete if values]
    varying = [key for key in keys if len({_comparable(values.get(key)) for values in with_settings}) > 1]
    texts = {key: _shown_values({values[key] for values in with_settings if key in values}) for key in varying}
    shown = [{key: texts[key][values[key]] for key in varying if key in values} for values in complete]
    return Settings(short_names(varying), shown)


def name_runs(runs: Iterable[Run]) -> list[Run]:
    """Returns the runs, each named by the settings in which it differs from the others.

    A run without such settings keeps its name. All names are different: the second "qwen" becomes "qwen (2)".
    """
    runs = list(runs)
    settings = differing_settings(runs)
    names = distinct(settings.label(index) or run.name for index, run in enumerate(runs))
    return [replace(run, record=replace(run.record, run=name)) for run, name in zip(runs, names, strict=True)]


def distinct(names: Iterable[str]) -> list[str]:
    """Returns the names, with a number after a name that is repeated.

    Example:
        >>> distinct(["qwen", "llama", "qwen"])
        ['qwen', 'llama', 'qwen (2)']
    """
    counts: Counter[str] = Counter()
    result = []
    for name in names:
        counts[name] += 1
        result.append(name if counts[name] == 1 else f"{name} ({counts[name]})")
    return result


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Returns for each key its shortest end that no other key has too.

    Example:
        >>> short_names(["synthesis.rare_share", "optim.lr", "model"])
        {'synthesis.rare_share': 'rare_share', 'optim.lr': 'lr', 'model': 'model'}
        >>> short_names(["generator.model.path", "model.path"])
        {'generator.model.path': 'generator.model.path', 'model.path': 'model.path'}
    """
    ends = {key: [key[match.start() :].lstrip("./") for match in re.finditer(r"^|[./]", key)][::-1] for key in keys}
    counts = Counter(end for of_key in ends.values() for end in of_key)
    return {key: next((end for end in of_key if counts[end] == 1), key) for key, of_key in ends.items()}


def overridden(overrides: Sequence[str]) -> dict[str, str]:
    """Returns the values that overrides give to settings that change results, by key; "~" for a removed key.

    Example:
        >>> overridden(["+reward=format", "~retriever", "logger=csv", "grpo.beta=0.1"])
        {'reward': 'format', 'retriever': '~', 'grpo.beta': '0.1'}
    """
    values = {}
    for text in filter(changes_results, overrides):
        key, _, value = text.partition("=")
        values[key.lstrip("+~")] = "~" if key.startswith("~") else value
    return values


def as_number(text: str) -> float | None:
    """Returns the number that a text is, or None.

    Example:
        >>> as_number("1e-6"), as_number("nan"), as_number("8B")
        (1e-06, None, None)
    """
    return float(text) if re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", text) else None


def _composed(run: Run, keys: Sequence[str]) -> dict[str, str]:
    """Returns the values that a run was composed with: the value of a setting, the option of a configuration group."""
    config = read_hydra_file(run.folder, "config") if keys else None
    if config is None:
        return {}
    options = _value(read_hydra_file(run.folder, "hydra"), "hydra.runtime.choices") or {}
    values = {key: options[key] if key in options else _value(config, key) for key in keys}
    return {key: _text(value) for key, value in values.items() if isinstance(value, bool | int | float | str)}


def _value(config: Any, key: str) -> Any:
    """Returns the value at a dotted key; None without one."""
    for part in key.split("."):
        if not isinstance(config, Mapping) or part not in config:
            return None
        config = config[part]
    return config


def _text(value: bool | int | float | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _comparable(text: str | None) -> str | float | None:
    """Returns a value that is equal for equal settings, such as 0.5 and 0.50."""
    number = None if text is None else as_number(text)
    return text if number is None else number


def _shown_values(values: Iterable[str]) -> dict[str, str]:
    """Returns the text of each value of a setting: the end of a path, where the ends differ."""
    short = {value: model_name(value) if "/" in value else value for value in values}
    return short if len(set(short.values())) == len(short) else {value: value for value in short}
