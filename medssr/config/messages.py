"""Builds messages for values and keys that OmegaConf rejects, with the full key, the given and the expected value."""

from __future__ import annotations

import re
from collections.abc import Iterable

from medssr.errors import first_line
from medssr.utils.nearest import did_you_mean

_EXPECTED = {
    "Integer": "a whole number",
    "Float": "a number",
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
}
_GIVEN = {"str": "text", "int": "number", "float": "number", "bool": "truth value", "dict": "mapping"}
UNKNOWN_KEY = r"Key '.*' (?:not in|is not in)"
# Patterns of OmegaConf's messages, and the messages that replace them after the key. The groups `expected` and
# `given_type` are type names, which are translated to plain words.
_WRONG_VALUES = (
    (r"^field '.*' is not Optional", "null, but a value is needed."),
    (
        r"^Value '(?P<given>.*)' of type '.*' could not be converted to (?P<expected>\w+)",
        "{given}; expected {expected}.",
    ),
    (r"^Value '(?P<given>.*)' is not a valid (?P<expected>\w+)", "{given}; expected {expected}."),
    (r"^Incompatible value 'None' for field of type '(?P<expected>\w+)'", "null; expected {expected}."),
    (
        r"(?P<given_type>\w+) (?:is not a|to) ListConfig",
        "found a {given_type}; expected a list, such as {key}=[a,b].",
    ),
    (
        r"^Invalid type assigned: (?P<given_type>\w+) is not a subclass of",
        "found a {given_type}; expected settings, each as name: value.",
    ),
    (
        r"^Cannot assign (?P<given_type>\w+) to Dict\[",
        "found a {given_type}; expected settings, as in '{key}={{name: value}}'. An option of a group is chosen by "
        "GROUP@{key}=OPTION, such as grpo/loss@{key}=gspo where that is a loss.",
    ),
    (
        r"Environment variable '(?P<name>.*)' not found",
        "the environment variable {name} is not set; set it, or give {key}=... on the command line.",
    ),
    (
        r"^Interpolation key '(?P<name>.*)' not found",
        "${{{name}}} stands for a setting that there is not; give {key}=... on the command line.",
    ),
)


def wrong_value(error: Exception, within: str = "", names: Iterable[str] = ()) -> str:
    """Returns the message for an invalid value or an unknown setting.

    Args:
        error: The error of OmegaConf.
        within: The key above the error's own key, if the error lacks it.
        names: The full keys of all existing settings.
    """
    key = ".".join(part for part in (within, getattr(error, "full_key", None)) if part)
    text = first_line(error)
    if re.match(UNKNOWN_KEY, text):
        return f"{key}: there is no such setting.{did_you_mean(key, names)}"
    if match := re.match(r"Invalid value '(.*)', expected one of \[(.*)\]", text):
        given, allowed = match[1], match[2].split(", ")
        return f"{key}: {given}; expected one of {', '.join(allowed)}.{did_you_mean(given, allowed)}"
    message = matched_message(text, _WRONG_VALUES, key=key) or text
    return f"{key}: {message}" if key else message


def matched_message(text: str, messages: Iterable[tuple[str, str]], **words: str) -> str | None:
    """Returns the message of the first pattern that matches a text; None if no pattern matches.

    Args:
        text: The message of Hydra or OmegaConf.
        messages: Patterns and messages; a message can contain the groups of its pattern as fields.
        words: Values of further fields.
    """
    for pattern, message in messages:
        if match := re.search(pattern, text):
            words |= match.groupdict()
            expected, given_type = words.get("expected", ""), words.get("given_type", "")
            plain = {"expected": _EXPECTED.get(expected, expected), "given_type": _GIVEN.get(given_type, given_type)}
            return message.format_map(words | plain)
    return None
