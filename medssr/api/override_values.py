"""Writes values in the syntax in which Hydra reads them from a command line."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from medssr.config.local_paths import expand_home

# Control characters, halves of surrogate pairs, and what ends a line: no command that can be copied has them.
_NOT_IN_COMMANDS = frozenset({"Cc", "Cs", "Zl", "Zp"})


class NotExpressibleError(Exception):
    """A value that no command line gives."""


def override_value(value: Any) -> str:
    """Returns a plain value (a mapping, a list, a text, a number, a truth value, None) as the value of an override.

    Raises:
        NotExpressibleError: When Hydra would read nothing, or another value, from it.

    Example:
        >>> override_value([{"name": "first", "note": "this, and that"}, "null", None, 3])
        "[{name: first, note: 'this, and that'}, 'null', null, 3]"
    """
    text = _written(value)
    if not _is_read_as(text, value):
        raise NotExpressibleError(text)
    return text


def _written(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return _written_text(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_written, value)) + "]"
    return repr(value)


def _written_text(text: str) -> str:
    """Returns a text without quotes where Hydra reads the same from it, also within a list, else in single quotes."""
    from hydra.core.override_parser.types import Quote, QuotedString

    if any(unicodedata.category(character) in _NOT_IN_COMMANDS for character in text):
        raise NotExpressibleError(text)
    is_plain = text != "" and _is_read_as(text, text) and _is_read_as(f"[{text}]", [text])
    return text if is_plain else QuotedString(text, Quote.single).with_quotes()


def _is_read_as(text: str, value: Any) -> bool:
    """Returns whether a command reads the value from the text behind the `=` of an override."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        read = OverridesParser.create().parse_override(expand_home(f"key={text}")).value()
        read = OmegaConf.to_container(OmegaConf.create({"value": read}), resolve=True)["value"]  # type: ignore[index, call-overload]
    except (HydraException, OmegaConfBaseException):
        return False
    return repr(read) == repr(value)  # which tells 1 from 1.0 and true
