"""Lists the groups, options and settings of a command, read from `conf/`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any


def _conf_dir() -> Path:
    """Returns the folder of the YAML files: `medssr/conf` in an installation, `conf` beside `medssr` in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


CONF_DIR = _conf_dir()


def group_of(override: str) -> str:
    """Returns the key of an override, without its prefix (+, ~), package and value.

    Example:
        >>> group_of("+model@policy=tiny"), group_of("~lora"), group_of("grpo.beta=0.1")
        ('model', 'lora', 'grpo.beta')
    """
    return re.split(r"[=@]", override.lstrip("+~"), maxsplit=1)[0].strip()


@cache
def groups_of(command: str) -> dict[str, str | None]:
    """Returns the groups of a command, including nested groups, with their default options."""
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
    """Returns the groups in the defaults list of a file, with their options."""
    import yaml

    entries = yaml.safe_load((CONF_DIR / file).read_text(encoding="utf-8")).get("defaults", [])
    return {
        key.split()[-1].removeprefix("/"): option
        for entry in entries
        if isinstance(entry, dict)
        for key, option in entry.items()
    }


# Keys of mappings of any names, and of what is in them.
_FREE_NAMES = re.compile(r"(\w+\.)+chat_template_kwargs(\.\w+)?")


def as_choice(override: str) -> str:
    """Returns an override whose dotted key is a nested group as the choice of its option; others are not changed.

    Hydra writes a nested group with a slash and its settings with dots, which are easily confused. It also adds a
    name to a mapping of any names only if asked to by a prefix, which is added here.

    Example:
        >>> as_choice("grpo.loss=gspo"), as_choice("grpo.loss.epsilon=0.1")
        ('grpo/loss=gspo', 'grpo.loss.epsilon=0.1')
        >>> as_choice("model.chat_template_kwargs.enable_thinking=false")
        '++model.chat_template_kwargs.enable_thinking=false'
    """
    key, equals, value = override.partition("=")
    if _FREE_NAMES.fullmatch(key) and equals:
        return f"++{override}"
    group = key.replace(".", "/")
    is_choice = bool(equals) and "." in key and bool(options_of(group)) and not value.startswith(("{", "["))
    return f"{group}={value}" if is_choice else override


def commands_with(group: str) -> list[str]:
    """Returns the commands that have a group, as typed in a shell."""
    names = sorted(file.stem for file in CONF_DIR.glob("*.yaml"))
    return [f"medssr-{name.replace('_', '-')}" for name in names if group in groups_of(name)]


def options_of(group: str) -> list[str]:
    """Returns the options of a group."""
    return sorted(file.stem for file in (CONF_DIR / group).glob("*.yaml"))


def settings_of(command: str, overrides: Sequence[str] = ()) -> list[str]:
    """Returns the full keys of all settings of a command, with the options that the overrides choose if they compose.

    Args:
        command: The name of the root configuration.
        overrides: The overrides of a command line; only those that choose options are used.
    """
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    chosen = [override for override in overrides if group_of(override) in groups_of(command)]
    for choice in (chosen, []):
        try:
            with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
                return list(_keys(compose(command, choice)))
        except (HydraException, OmegaConfBaseException):  # one of the choices may be invalid
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
