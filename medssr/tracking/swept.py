"""Which numbers a set of configurations varies, read from what their runs were started with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from medssr.tracking.configurations import Configuration

# What changes no result, or tells seeds and runs apart.
_UNSWEPT = ("paths", "extras", "logger", "callbacks", "task_name", "study", "seed", "force", "tags")


@dataclass(frozen=True, slots=True)
class Sweep:
    """A number that varies.

    Attributes:
        key: Its full key, such as `synthesis.rare_share`.
        values: Of each configuration, by its name.
        groups: By its name, what else of a configuration varies, as text; equal texts are points of one curve.
    """

    key: str
    values: dict[str, float]
    groups: dict[str, str]


def sweeps(configurations: Sequence[Configuration]) -> list[Sweep]:
    """Returns the numbers that vary over the configurations, by the keys that their overrides name.

    A configuration that does not name the key has the value of its composed configuration, `.hydra/config.yaml`.
    """
    settings = {each.name: _settings(each) for each in configurations}
    keys = dict.fromkeys(key for found in settings.values() for key in found[0])
    complete = {
        name: {key: named[key] if key in named else _value(composed, key) for key in keys}
        for name, (named, composed) in settings.items()
    }
    varying = [key for key in keys if len({repr(found[key]) for found in complete.values()}) > 1]
    result = []
    for key in varying:
        values = {name: _number(found[key]) for name, found in complete.items()}
        known = {name: value for name, value in values.items() if value is not None}
        if len(set(known.values())) > 1 and len(known) == len(values):
            others = [other for other in varying if other != key]
            groups = {
                name: ", ".join(f"{other.split('.')[-1]}={found[other]}" for other in others)
                for name, found in complete.items()
            }
            result.append(Sweep(key, known, groups))
    return result


def _settings(configuration: Configuration) -> tuple[dict[str, Any], Any]:
    """Returns the overrides by key, and the composed configuration of the first run."""
    run = configuration.runs[0]
    named = {}
    for text in run.record.overrides:
        key, sign, value = text.lstrip("+").partition("=")
        if sign and not key.startswith(_UNSWEPT) and not key.startswith("~"):
            named[key] = value
    file = run.folder / ".hydra" / "config.yaml"
    composed = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader) if file.is_file() else {}
    return named, composed


def _value(composed: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(composed, Mapping) or part not in composed:
            return None
        composed = composed[part]
    return composed if isinstance(composed, int | float | str) else None  # a group is named by its option alone


def _number(value: Any) -> float | None:
    text = str(value).strip()
    return float(text) if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text) else None
