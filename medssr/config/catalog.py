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
# Settings that are mappings with any keys.
_OPEN_MAPPINGS = frozenset({"extra_body", "hub_config"})


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
    """Returns the groups in the defaults list of a file, and in those of its bases, with their options."""
    chosen: dict[str, str | None] = {}
    for entry in _defaults_of(file):
        if isinstance(entry, dict):
            chosen |= {key.split()[-1].removeprefix("/"): option for key, option in entry.items()}
    for base in bases_of(file):
        chosen |= _chosen_in(base)
    return chosen


def bases_of(file: str) -> list[str]:
    """Returns the files of `conf/base/` that a file is composed of, the most general one first."""
    folder = "base/" if file.startswith("base/") else ""
    names = [f"{folder}{entry}.yaml" for entry in _defaults_of(file) if isinstance(entry, str)]
    bases = [name for name in names if name.startswith("base/") and "_self_" not in name]
    return [name for base in bases for name in (*bases_of(base), base)]


def _defaults_of(file: str) -> list[Any]:
    import yaml

    defaults: list[Any] = yaml.safe_load((CONF_DIR / file).read_text(encoding="utf-8")).get("defaults", [])
    return defaults


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


def as_addition(override: str) -> str:
    """Returns an override of a mapping with any keys as one that may add keys, which Hydra wants written with a +.

    Example:
        >>> as_addition("generator.extra_body.top_p=0.9"), as_addition("generator.model=NAME")
        ('++generator.extra_body.top_p=0.9', 'generator.model=NAME')
    """
    key, equals, _ = override.lstrip("+").partition("=")
    is_open = bool(equals) and not _OPEN_MAPPINGS.isdisjoint(key.split(".")[1:])
    return f"++{override.lstrip('+')}" if is_open else override


def commands_with(group: str) -> list[str]:
    """Returns the commands that have a group, as typed in a shell."""
    names = sorted(file.stem for file in CONF_DIR.glob("*.yaml"))
    return [f"medssr-{name.replace('_', '-')}" for name in names if group in groups_of(name)]


def options_of(group: str) -> list[str]:
    """Returns the options of a group."""
    return sorted(file.stem for file in (CONF_DIR / group).glob("*.yaml"))


def options_with(group: str, setting: Sequence[str]) -> list[str]:
    """Returns the options of a group whose own file has a setting.

    Args:
        group: The group.
        setting: The names that lead to the setting in the group.

    Example:
        >>> options_with("rollout", ["overlap"])
        ['vllm_node', 'vllm_server']
    """
    return [option for option in options_of(group) if setting and _has(CONF_DIR / group / f"{option}.yaml", setting)]


def _has(file: Path, setting: Sequence[str]) -> bool:
    import yaml

    node: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    for name in setting:
        if not isinstance(node, dict) or name not in node:
            return False
        node = node[name]
    return True


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
