"""The flags of a command line: Hydra's own; settings have none."""

from __future__ import annotations

from collections.abc import Sequence

from medssr.config.nearest import did_you_mean
from medssr.errors import InputError

# What Hydra itself tells by --info.
_HYDRAS_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")


def without_info(arguments: Sequence[str]) -> tuple[bool, list[str]]:
    """Returns whether a command line asks what would run (`--info` alone), and the rest of it.

    `--info defaults` and the like are Hydra's own.

    Example:
        >>> without_info(["grpo=large", "--info"]), without_info(["--info", "defaults"])
        ((True, ['grpo=large']), (False, ['--info', 'defaults']))
    """
    words = list(arguments)
    if "--info" not in words:
        return False, words
    place = words.index("--info")
    is_hydras = place + 1 < len(words) and words[place + 1] in _HYDRAS_INFO
    return not is_hydras, words if is_hydras else words[:place] + words[place + 1 :]


def check_flags(arguments: Sequence[str]) -> list[str]:
    """Returns the settings of a command line.

    Raises:
        InputError: When a flag is none of Hydra's, or a flag stands between settings.
    """
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    found, rest = parser.parse_known_args(list(arguments))
    flags = [flag for action in parser._actions for flag in action.option_strings]
    for word in rest:
        if not word.startswith("-"):
            raise InputError(f"{word}: a flag such as -m stands before it, between settings; put flags first or last.")
        if "=" in word or word.startswith("--"):
            name, _, value = word.lstrip("-").partition("=")
            key = name.replace("-", "_")
            hint = did_you_mean(f"--{name}", [flag for flag in flags if flag.startswith("--")])
            advice = hint or f" Settings are given without dashes: {key}={value or 'VALUE'}."
            raise InputError(f"{word}: there is no such flag.{advice}")
        raise InputError(f"{word}: there is no such flag. Settings are given without dashes, as key=value.")
    overrides: list[str] = found.overrides
    return overrides
