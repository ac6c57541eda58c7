"""Builds what `--help` prints: the groups of a command with their options, and its settings with their comments.

The files in `conf/` are read, which takes a tenth of a second. They are composed where the command line sets anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from medssr.config.catalog import CONF_DIR, bases_of, groups_of, options_of

if TYPE_CHECKING:
    from omegaconf import DictConfig

# Groups whose settings are in the reference alone: they decide how a run looks, where it is kept and how it is logged.
_IN_REFERENCE_ONLY = ("hydra", "paths", "extras", "callbacks", "logger", "trainer", "experiment", "local", "debug")
_MAX_COMMENT = 88
# Options of these groups set values in any group; each is for the command that its first comment names.
_PRESETS = ("experiment", "debug", "hparams_search")
_FOOTER = """\
Further:

  --cfg job       the whole configuration that would be used; nothing runs
{info}  -m seed=1,2,3   one run for each value: a sweep
  medssr-doctor in front of the line says whether this machine can run it
  python -m medssr.cli.reference FILE writes every setting of every option with its comment"""


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of a configuration file.

    Attributes:
        key: Its name, below the groups and blocks that it is in.
        value: As it stands in the file.
        comment: What stands above it.
    """

    key: str
    value: str
    comment: str


def help_text(name: str, has_plan: bool, composed: tuple[dict[str, str | None], dict[str, Any]] | None = None) -> str:
    """Returns what `--help` prints for a command.

    Args:
        name: The root configuration.
        has_plan: Whether the command takes `--info`.
        composed: The chosen options by group and the values of all settings, where the command line sets any.
    """
    choices, values = composed or ({}, None)
    groups = {group: option for group, option in groups_of(name).items() if group not in ("hydra", "local")}
    groups |= {group: choices[group] for group in groups if group in choices}
    first = (CONF_DIR / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
    files = [f"{name}.yaml", *bases_of(f"{name}.yaml")]
    settings = [setting for file in files for setting in settings_in(file) if setting.key not in groups]
    num_root = len(settings)
    for group, option in groups.items():
        if option is not None and group not in _IN_REFERENCE_ONLY:
            folder, _, package = group.partition("@")
            settings += [
                replace(setting, key=f"{package or group}.{setting.key}".replace("/", "."))
                for setting in _with_bases(folder, option)
            ]
    root_keys = {setting.key for setting in settings[:num_root]}  # the root is composed last
    settings = [setting for i, setting in enumerate(settings) if i < num_root or setting.key not in root_keys]
    if values is not None:
        settings = [
            replace(setting, value=_shown(values[setting.key])) for setting in settings if setting.key in values
        ]
    info = "  --info          what would run: sizes, memory, what is made already; nothing runs\n" if has_plan else ""
    lines = [
        f"  {group}: {', '.join(marked)}"
        for group, option in groups.items()
        if (marked := _marked(name, group, option))
    ]
    return "\n\n".join(
        [
            first,
            "Groups and their options (group=option; the one in use has a *):",
            "\n".join(lines),
            "Main settings (setting=value):",
            "\n".join(map(_line, settings)),
            _FOOTER.format(info=info),
        ]
    )


def composed_values(config: DictConfig) -> dict[str, Any]:
    """Returns the values of all settings of a composed configuration by their full keys, interpolations as written."""
    from omegaconf import OmegaConf

    def walk(node: Any, key: str) -> Iterator[tuple[str, Any]]:
        yield key, node
        if isinstance(node, dict):
            for name, value in node.items():
                yield from walk(value, f"{key}.{name}" if key else str(name))

    return dict(walk(OmegaConf.to_container(config, resolve=False, enum_to_str=True), ""))


def _shown(value: Any) -> str:
    """Returns a value as it is written in a configuration file."""
    import yaml

    if isinstance(value, str):
        return value
    return yaml.safe_dump(value, default_flow_style=True, width=math.inf).removesuffix("...\n").strip()


def settings_in(file: str) -> list[Setting]:
    """Returns the settings of a file in `conf/`, those in blocks by their full key."""
    settings: list[Setting] = []
    blocks: list[tuple[int, str]] = []
    comment: list[str] = []
    list_indent: int | None = None  # of a list whose items are skipped
    for line in (CONF_DIR / file).read_text(encoding="utf-8").splitlines():
        if line.lstrip().startswith("#"):
            comment.append(line.strip(" #"))
            continue
        depth_of_line = len(line) - len(line.lstrip())
        if line.lstrip().startswith("- "):
            list_indent = depth_of_line
        elif list_indent is not None and line.strip() and depth_of_line <= list_indent:
            list_indent = None
        match = re.match(r"( *)(\w+):\s*(.*)$", line)
        if match and list_indent is None:
            indent, key, value = len(match[1]), match[2], match[3]
            blocks = [(depth, block) for depth, block in blocks if depth < indent]
            full_key = ".".join([*(block for _, block in blocks), key])
            if not value:
                blocks.append((indent, key))
            elif not key.startswith("_") and blocks[:1] != [(0, "defaults")]:
                # The first setting stands below what is said of the whole file.
                settings.append(Setting(full_key, value, " ".join(comment if settings else comment[-1:])))
        comment = []
    return settings


def _with_bases(group: str, option: str) -> list[Setting]:
    """Returns the settings of an option and of those that it builds on, each with its own value."""
    text = (CONF_DIR / group / f"{option}.yaml").read_text(encoding="utf-8")
    bases = re.findall(r"^  - (?:/(\w+)@_here_: )?(?!_self_)(\w+)$", text, re.M) if "defaults:" in text else []
    settings = {setting.key: setting for base, name in bases for setting in _with_bases(base or group, name)}
    for setting in settings_in(f"{group}/{option}.yaml"):
        for other in [key for key in settings if _is_below(key, setting.key) or _is_below(setting.key, key)]:
            del settings[other]  # a block in place of a value, or a value in place of a block
        before = settings.get(setting.key, setting)
        settings[setting.key] = replace(setting, comment=before.comment or setting.comment)
    return list(settings.values())


def _is_below(key: str, block: str) -> bool:
    return key.startswith(f"{block}.")


def _marked(name: str, group: str, default: str | None) -> list[str]:
    """Returns the options of a group, the default marked; of presets those that are launched by the command."""
    options = options_of(group.partition("@")[0])
    if group in _PRESETS:
        launch = f"medssr-{name.replace('_', '-')} {group}="
        texts = {option: (CONF_DIR / group / f"{option}.yaml").read_text(encoding="utf-8") for option in options}
        options = [option for option, text in texts.items() if launch in text]
    return [f"{option}*" if option == default else option for option in options]


def _line(setting: Setting) -> str:
    sentence = re.split(r"(?<=[.;]) ", setting.comment.strip(" ."), maxsplit=1)[0].rstrip(".;")
    shown = sentence if len(sentence) <= _MAX_COMMENT else f"{sentence[: _MAX_COMMENT - 4].rstrip()} ..."
    return f"  {f'{setting.key}={setting.value}':44}  {shown}".rstrip()
