"""Messages for values and keys that OmegaConf refuses: the full key, what was given and what is expected."""

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
# What OmegaConf says of a value, and what is said after the key instead. The groups `expected` and `given_type` are
# types, which are said in plain words.
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
        r"Environment variable '(?P<name>.*)' not found",
        "the environment variable {name} is not set; set it, or give {key}=... on the command line.",
    ),
    (
        r"^Interpolation key '(?P<name>.*)' not found",
        "${{{name}}} stands for a setting that there is not; give {key}=... on the command line.",
    ),
)


def wrong_value(error: Exception, within: str = "", names: Iterable[str] = ()) -> str:
    """Returns what is wrong with a value that does not fit its setting, or with the setting.

    Args:
        error: OmegaConf's.
        within: Where the setting lies, as far as the error does not know it.
        names: The full keys of the settings that there are.
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
    """Returns the message of the first pattern that is found in a text; None where none is.

    Args:
        text: What Hydra or OmegaConf says.
        messages: Patterns and messages, which name the pattern's groups.
        words: What else messages name.
    """
    for pattern, message in messages:
        if match := re.search(pattern, text):
            words |= match.groupdict()
            expected, given_type = words.get("expected", ""), words.get("given_type", "")
            plain = {"expected": _EXPECTED.get(expected, expected), "given_type": _GIVEN.get(given_type, given_type)}
            return message.format_map(words | plain)
    return None
