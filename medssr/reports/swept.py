"""Which numbers a set of configurations varies, read from what their runs were started with."""

from __future__ import annotations

from dataclasses import dataclass

from medssr.reports.configuration_table import ConfigurationTable
from medssr.reports.settings import as_number


@dataclass(frozen=True, slots=True)
class Sweep:
    """A number that varies.

    Attributes:
        key: Its full key, such as `synthesis.rare_share`.
        name: What it is called, such as `rare_share`.
        values: Of each configuration, by its name.
        groups: By its name, what else of a configuration varies, as text; equal texts are points of one curve.
    """

    key: str
    name: str
    values: dict[str, float]
    groups: dict[str, str]


def sweeps(table: ConfigurationTable) -> list[Sweep]:
    """Returns the numbers that vary over the configurations: settings in which all of them have a number."""
    result = []
    for key, name in table.setting_names.items():
        values = {each.name: as_number(each.settings.get(key, "")) for each in table.configurations}
        known = {each: value for each, value in values.items() if value is not None}
        if len(known) == len(values):
            others = {other: short for other, short in table.setting_names.items() if other != key}
            groups = {
                each.name: ", ".join(
                    f"{short}={each.settings[other]}" for other, short in others.items() if other in each.settings
                )
                for each in table.configurations
            }
            result.append(Sweep(key, name, known, groups))
    return result
