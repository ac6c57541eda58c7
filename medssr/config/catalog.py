"""The groups, options and settings that a command has, as `conf/` holds them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any


def _conf_dir() -> Path:
    """Returns the folder of the YAML files: `medssr/conf` where installed, `conf` beside `medssr` in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


CONF_DIR = _conf_dir()


def group_of(override: str) -> str:
    """Returns the key of an override, without what stands before it, its package and its value.

    Example:
        >>> group_of("+model@policy=tiny"), group_of("~lora"), group_of("grpo.beta=0.1")
        ('model', 'lora', 'grpo.beta')
    """
    return re.split(r"[=@]", override.lstrip("+~"), maxsplit=1)[0].strip()


@cache
def groups_of(command: str) -> dict[str, str | None]:
    """Returns the groups of a command with the option that each has by default, groups inside groups too."""
    groups = _chosen_in(f"{command}.yaml")
    nested = {
        f"{group}/{inner}": inner_option
        for group, option in groups.items()
        if option is not None and (CONF_DIR / group / f"{option}.yaml").is_file() and group != "hydra"
        for inner, inner_option in _chosen_in(f"{group}/{option}.yaml").items()
        if (CONF_DIR / group / inner).is_dir()
    }
    return groups | nested


def _chosen_in(file: str) -> dict[str, str | None]:
    """Returns the groups that the defaults list of a file names, with their options."""
    import yaml

    entries = yaml.safe_load((CONF_DIR / file).read_text(encoding="utf-8")).get("defaults", [])
    return {
        key.split()[-1].removeprefix("/"): option
        for entry in entries
        if isinstance(entry, dict)
        for key, option in entry.items()
    }


def as_choice(override: str) -> str:
    """Returns the choice of an option for a dotted key that names a group inside a group; other overrides as they are.

    Hydra writes such a group with a slash and its settings with dots, which is easily confused.

    Example:
        >>> as_choice("grpo.loss=gspo"), as_choice("grpo.loss.epsilon=0.1")
        ('grpo/loss=gspo', 'grpo.loss.epsilon=0.1')
    """
    key, _, value = override.partition("=")
    group = key.replace(".", "/")
    is_choice = "." in key and set(value.split(",")) <= set(options_of(group))
    return f"{group}={value}" if is_choice else override


def commands_with(group: str) -> list[str]:
    """Returns the commands that have a group, as they are typed."""
    names = sorted(file.stem for file in CONF_DIR.glob("*.yaml"))
    return [f"medssr-{name.replace('_', '-')}" for name in names if group in groups_of(name)]


def options_of(group: str) -> list[str]:
    """Returns the options of a group."""
    return sorted(file.stem for file in (CONF_DIR / group).glob("*.yaml"))


def settings_of(command: str, overrides: Sequence[str] = ()) -> list[str]:
    """Returns the full key of every setting of a command, with the options that the overrides choose where they can be.

    Args:
        command: The name of the root configuration.
        overrides: Of a command line; those that choose options count.
    """
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    chosen = [override for override in overrides if group_of(override) in groups_of(command)]
    for choice in (chosen, []):
        try:
            with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
                return list(_keys(compose(command, choice)))
        except (HydraException, OmegaConfBaseException):  # one of the choices may be the fault
            continue
    return []


def _keys(node: Any, prefix: str = "") -> Iterator[str]:
    from omegaconf import DictConfig, OmegaConf

    names: Iterable[Any] = node.keys()
    for name in names:
        yield f"{prefix}{name}"
        is_plain = not OmegaConf.is_missing(node, name) and not OmegaConf.is_interpolation(node, name)
        if is_plain and isinstance(node[name], DictConfig):
            yield from _keys(node[name], f"{prefix}{name}.")
