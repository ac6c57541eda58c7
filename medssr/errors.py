"""The exception for a user's fault, whose message is shown without a traceback; helpers for messages."""

from __future__ import annotations

from pathlib import Path

# Exit code of a command that a user's fault has ended.
USER_FAULT = 2


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
            location += f', field "{field}"'
        return cls(f"{location}: {message}")


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
