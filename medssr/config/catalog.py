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
    """Returns the groups of a command with the option that each has by default."""
    import yaml

    entries = yaml.safe_load((CONF_DIR / f"{command}.yaml").read_text(encoding="utf-8"))["defaults"]
    return {
        key.split()[-1].removeprefix("/"): option
        for entry in entries
        if isinstance(entry, dict)
        for key, option in entry.items()
    }


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
