"""The one exception for a user's fault: its message is shown without a traceback and the exit code is 2."""

from __future__ import annotations

from pathlib import Path


class InputError(ValueError):
    """A fault in a file, a configuration or a command line that the user can put right.

    The message names where the fault is (file, line, field), what was found and what to do about it.
    """

    @classmethod
    def at(cls, path: Path | str, message: str, *, line: int | None = None, field: str | None = None) -> InputError:
        """Returns an error whose message starts with its place.

        Example:
            >>> str(InputError.at("q.jsonl", "is empty; give the question text.", line=3, field="stem"))
            'q.jsonl, line 3, field "stem": is empty; give the question text.'
        """
        place = str(path)
        if line is not None:
            place += f", line {line}"
        if field is not None:
            place += f', field "{field}"'
        return cls(f"{place}: {message}")
