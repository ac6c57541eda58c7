"""The exception for a user's fault, whose message is shown without a traceback; helpers for messages."""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any

# Exit code of a command that a user's fault has ended.
USER_FAULT = 2
# The most characters of a message about a file, and of the name of a field in it: what a file holds may be of any
# length.
_LONGEST_MESSAGE = 1500
_LONGEST_FIELD = 100

_values = reprlib.Repr()
_values.maxstring = _values.maxother = _values.maxlong = 60
_values.maxlevel = 3


class InputError(ValueError):
    """A fault in a file, a configuration or a command line that the user can put right.

    The message names where the fault is (file, line, field), what was found and what to do about it.
    """

    @classmethod
    def at(cls, path: Path | str, message: str, *, line: int | None = None, field: str | None = None) -> InputError:
        """Returns an error whose message starts with its location.

        Example:
            >>> str(InputError.at("q.jsonl", "is empty; give the question text.", line=3, field="stem"))
            'q.jsonl, line 3, field "stem": is empty; give the question text.'
        """
        location = str(path)
        if line is not None:
            location += f", line {line}"
        if field is not None:
            location += f', field "{shortened(field, _LONGEST_FIELD)}"'
        return cls(f"{location}: {shortened(message, _LONGEST_MESSAGE)}")


def shown(value: Any) -> str:
    """Returns how a message shows a value from a file: as Python writes it, cut where it is long or deep.

    Example:
        >>> shown("liver"), shown([[[[1]]]]), len(shown("x" * 1000))
        ("'liver'", '[[[...]]]', 60)
    """
    return _values.repr(value)


def shortened(text: str, longest: int) -> str:
    """Returns a text without its middle where it is longer than `longest` characters: its end often says what to do.

    Example:
        >>> shortened("found 1234567890, expected a text", 24)
        'found 123456 [...] a text'
    """
    if len(text) <= longest:
        return text
    num_last = longest // 4
    return f"{text[: longest - num_last - 6]} [...] {text[len(text) - num_last :].lstrip()}"


def first_line(error: BaseException) -> str:
    r"""Returns the first line of what an error says; the name of its type where it says nothing.

    Example:
        >>> first_line(OSError("cannot be reached\nat line 3")), first_line(KeyError())
        ('cannot be reached', 'KeyError')
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def require(is_met: bool, field: str, message: str) -> None:
    """Raises InputError with the field's full name where a condition is not met."""
    if not is_met:
        raise InputError(f"{field}: {message}")
