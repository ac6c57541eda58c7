"""Turns errors of Hydra, OmegaConf, YAML and the disk into messages with the full key and a fix."""

from __future__ import annotations

import re
from collections.abc import Sequence

from medssr.cli.disk_messages import disk_message, path_fault
from medssr.config.catalog import commands_with, group_of, groups_of, options_of, options_with, settings_of
from medssr.config.messages import UNKNOWN_KEY, matched_message, wrong_value
from medssr.errors import first_line
from medssr.utils.nearest import did_you_mean

# What Hydra says of the command line, and what is said instead.
_WRONG_OVERRIDES = (
    (
        r"An item is already at '(?P<key>.+?)'",
        "+{key}: the setting is there already, so leave the + out: {key}=VALUE.",
    ),
    (
        r"^Ambiguous value for argument '(?P<key>.+?)=(?P<value>.*?)'",
        "{key}={value}: several values; to run each of them add -m, for a list write '{key}=[{value}]'.",
    ),
    (
        r"^Sweep parameters '(?P<key>.+?)' requires --multirun",
        "{key}: several values; to run each of them add -m.",
    ),
    (r"^Multiple values for (?P<key>\S+?)\.", "{key}: is chosen twice; leave the + out: {key}=OPTION."),
    (
        r"^force-add of config groups is not supported: '\++(?P<key>.+)'",
        "++{key}: an option needs no +; write {key}.",
    ),
)


def error_message(error: BaseException, command: str, overrides: Sequence[str]) -> str | None:
    """Returns what is wrong with a command line or a configuration file and how to put it right.

    Args:
        error: What was raised before the command's own work began.
        command: The name of the root configuration.
        overrides: What the command line sets.

    Returns:
        None where the error is no fault of the user.
    """
    from hydra.errors import (
        ConfigCompositionException,
        HydraException,
        MissingConfigException,
        OverrideParseException,
        SearchPathException,
    )
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    if (fault := path_fault(error)) is not None:
        return disk_message(fault, [])
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override, list(overrides))
    if isinstance(error, MissingConfigException):
        return _no_such_option(error, overrides)
    if isinstance(error, ConfigCompositionException):
        return _not_composed(error, command, overrides)
    if isinstance(error, OmegaConfBaseException):
        return wrong_value(error)
    if isinstance(error, YAMLError):
        return _no_yaml(error)
    if isinstance(error, SearchPathException):
        return f"--config-dir: {first_line(error)}; give a folder with options of your own."
    if isinstance(error, HydraException | ValueError):
        return first_line(error)
    if isinstance(error, AssertionError):  # of OmegaConf, where there is nothing to set the setting in
        below_null = [key for key in map(group_of, overrides) if _is_below_null(key, command, overrides)]
        return _no_such_setting(below_null[0], command, overrides) if below_null else None
    return None


def _unreadable(override: str, overrides: list[str]) -> str:
    """Returns why a word of the command line cannot be read as a setting."""
    index = overrides.index(override) if override in overrides else -1
    before = overrides[index - 1] if index > 0 else ""
    after = overrides[index + 1] if 0 <= index < len(overrides) - 1 else ""
    if override.startswith("=") or before.endswith("=") or after.startswith("="):
        words = " ".join(word for word in (before, override, after) if word)
        return f"{words}: there is a space beside the =; write it without, as key=value."
    if "=" not in override:
        return f"{override}: is no setting, since it has no =; write {override}=VALUE (or ~{override} to take one out)."
    key, _, value = override.partition("=")
    if not re.fullmatch(r"[+~]{0,2}[\w/.@$-]+", key):
        return f"{override}: {key!r} is no name of a setting; write key=value."
    quoted = f"""'{key}="{value}"'"""
    return (
        f"{override}: the value cannot be read. Brackets and quotes must close, and the shell must not take the "
        f"setting apart: put it in quotes, '{key}=[a,b]' for a list, {quoted} for a text with special signs."
    )


def _no_such_option(error: Exception, overrides: Sequence[str]) -> str:
    """Returns that an option does not exist, and which ones do."""
    missing = getattr(error, "missing_cfg_file", None) or ""
    chosen = [(group_of(override), override.partition("=")[2]) for override in overrides]
    given = [
        (group, option)
        for group, option in chosen
        if f"{group}/{option}".removesuffix(".yaml") == missing.removesuffix(".yaml")
    ]
    group, option = given[0] if given else (missing.rpartition("/")[0], missing.rpartition("/")[2])
    if not group:
        return f"{first_line(error)} Each command has its own configuration: leave --config-name out."
    options = sorted(getattr(error, "options", None) or options_of(group))
    presets = [f"{group}={option}" for group, option in chosen if option in options_of(group) or group == "experiment"]
    where = "" if given else f" (chosen by a preset: {' or '.join(presets)})" if presets else " (chosen by a preset)"
    meant = did_you_mean(option.rpartition("/")[2].removesuffix(".yaml"), options)
    return f"{group}={option}: there is no such option{where}; expected one of {', '.join(options)}.{meant}"


def _not_composed(error: Exception, command: str, overrides: Sequence[str]) -> str:
    text, cause = str(error), error.__cause__ or error.__context__
    if match := re.search(r"Could not override '(.+?)'", text):
        return _no_such_setting(_deepest_key(match[1].split("@")[0], cause), command, overrides)
    if match := re.match(r"Error merging override (.+)", text):
        return _not_merged(match[1], cause, command, overrides)
    if match := re.search(r"Could not delete (?:from config\. )?'(.+?)'", text):
        return f"~{match[1]}: there is nothing of that name to take out.{_meant(match[1], command, overrides)}"
    if message := matched_message(text, _WRONG_OVERRIDES):
        return message
    if match := re.match(r"In '(.+?)': \w+ raised while composing config:\s*(.+)", text):
        names = settings_of(command)
        return f"{match[1]}.yaml: {wrong_value(cause, names=names) if isinstance(cause, Exception) else match[2]}"
    return first_line(error)


def _not_merged(override: str, cause: BaseException | None, command: str, overrides: Sequence[str]) -> str:
    key = group_of(override)
    if not isinstance(cause, Exception):
        return f"{override}: does not fit the configuration."
    text = first_line(cause)
    if re.match(UNKNOWN_KEY, text):
        return _no_such_setting(_deepest_key(key, cause), command, overrides)
    if override.startswith("~"):
        return f"{override}: the setting is needed, so it cannot be taken out; give it another value: {key}=VALUE."
    full_key = getattr(cause, "full_key", None) or ""
    return wrong_value(cause, "" if full_key.split(".")[0] == key.split(".")[0] else key)


def _deepest_key(key: str, cause: BaseException | None) -> str:
    """Returns the key that is wrong: what was set, or what is in it where a whole mapping was set."""
    full_key = getattr(cause, "full_key", None) or ""
    return full_key if full_key.startswith(f"{key}.") else key


def _no_such_setting(key: str, command: str, overrides: Sequence[str]) -> str:
    """Returns that a command has no such setting or group, and which it has."""
    first = key.split(".")[0]
    typed = f"medssr-{command.replace('_', '-')}"
    groups = groups_of(command)
    if _is_below_null(key, command, overrides):
        options = " or ".join(f"{first}={option}" for option in options_of(first)[:3])
        return f"{key}: {first} is null, so it has no settings; choose an option as well: {options}."
    elsewhere = commands_with(first) if first not in groups else []
    if elsewhere:
        return f"{key}: {typed} has no group {first}; it belongs to {', '.join(elsewhere)}."
    others = [f"{first}={option}" for option in options_with(first, key.split(".")[1:])]
    if others:
        return f"{key}: the chosen option of {first} has no such setting; take {' or '.join(others)}, which have it."
    return f"{key}: {typed} has no such setting.{_meant(key, command, overrides)} {typed} --help shows all."


def _is_below_null(key: str, command: str, overrides: Sequence[str]) -> bool:
    """Returns whether a key lies in a group that has no option."""
    group, _, rest = key.partition(".")
    choices = [override.partition("=")[2] or None for override in overrides if group_of(override) == group]
    choice = choices[-1] if choices else groups_of(command).get(group, "")
    return bool(rest) and choice in (None, "null")


def _meant(key: str, command: str, overrides: Sequence[str]) -> str:
    return did_you_mean(key, [*groups_of(command), *settings_of(command, overrides)])


def _no_yaml(error: Exception) -> str:
    """Returns where a file is no YAML, and why."""
    mark = getattr(error, "problem_mark", None)
    location = f"{mark.name}, line {mark.line + 1}" if mark is not None else "a configuration file"
    problem = getattr(error, "problem", None) or first_line(error)
    advice = "indent by spaces, not by tabs." if r"\t" in problem else "check indentation, colons and quotes there."
    return f"{location}: is no valid YAML ({problem}); {advice}"
