"""Decodes JSON strictly, with the line and the field of what is wrong: NaN, repeated keys, half a surrogate pair."""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from medssr.errors import InputError

_SPACE = re.compile(r"[ \t\n\r]*")
_COMMA_BEFORE_END = re.compile(r",[ \t\n\r]*[\]}]")
_TOO_DEEP = "is nested too deeply to be read; expected flat objects."
_TRAILING_COMMA = "a comma stands behind the last member; remove it"
# The most lists and objects around a value. Records are flat; deeper ones could not be written again, since Python's
# functions on nested values call themselves.
MAX_DEPTH = 100
_HALF_PAIR = re.compile("[\ud800-\udfff]")


def bad_character(text: str) -> str | None:
    """Returns what is wrong with a text that holds NUL or cannot be written as UTF-8; None for any other.

    Example:
        >>> bad_character("pain"), bad_character(chr(0))
        (None, 'holds a NUL character; remove it.')
    """
    if "\0" in text:
        return "holds a NUL character; remove it."
    return None if text.isascii() else half_pair(text)  # most texts are ASCII, and asking that is quick


def half_pair(text: str) -> str | None:
    """Returns what is wrong with a text that holds half a surrogate pair, which UTF-8 has not; None for others."""
    match = _HALF_PAIR.search(text)
    if match is None:
        return None
    code = f"{ord(match[0]):04x}"
    return f"holds half a surrogate pair (\\u{code}), a character cut in two; remove it or write the whole character."


def is_deep(value: Any) -> bool:
    """Returns whether lists and objects stand in one another more than `MAX_DEPTH` times."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            member
            for parent in level
            if isinstance(parent, list | dict)
            for member in (parent.values() if isinstance(parent, dict) else parent)
        ]
    return bool(level)


@dataclass(frozen=True, slots=True)
class _Odd:
    """Stands for a value that JSON does not have, until its field is known."""

    problem: str


class StrictDecoder(json.JSONDecoder):
    """Decodes JSON; `is_odd` says whether a value held what JSON does not have. For one thread at a time.

    Args:
        allows_nan: Whether NaN and Infinity are numbers, as in what Python itself has written.
    """

    def __init__(self, *, allows_nan: bool = False) -> None:
        numbers: dict[str, Any] = {} if allows_nan else {"parse_constant": self._constant, "parse_float": self._float}
        super().__init__(object_pairs_hook=self._object, **numbers)
        self.is_odd = False

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        record = dict(pairs)
        if len(record) < len(pairs):
            self.is_odd = True
            seen: set[str] = set()
            for name, _ in pairs:
                if name in seen:
                    record[name] = _Odd("occurs twice in one object; keep one.")
                seen.add(name)
        return record

    def _constant(self, name: str) -> _Odd:
        self.is_odd = True
        return _Odd(f"{name} is no JSON value; write null or a number.")

    def _float(self, digits: str) -> Any:
        number = float(digits)
        return number if math.isfinite(number) else self._constant(digits)


class JsonText:
    """A text that holds JSON values, decoded one by one at their positions.

    Attributes:
        text: The text.
        path: The file that it is from, for messages.
        first_line: The number of its first line in the file.
    """

    def __init__(self, text: str, path: Path, first_line: int = 1, decoder: StrictDecoder | None = None) -> None:
        self.text = text
        self.path = path
        self.first_line = first_line
        self._decoder = decoder or StrictDecoder()

    def line(self, position: int) -> int:
        """Returns the number of the line at a position."""
        return self.first_line + bisect_left(self._line_ends, position)

    @cached_property
    def _line_ends(self) -> list[int]:
        return [match.start() for match in re.finditer("\n", self.text)]

    def skip_space(self, position: int) -> int:
        """Returns the position of the next character that is no space."""
        match = _SPACE.match(self.text, position)
        assert match is not None
        return match.end()

    def value(self, start: int) -> tuple[Any, int]:
        """Returns the value that starts at a position, and the position behind it; `check` says whether it is sound.

        Raises:
            InputError: When it is no valid JSON.
        """
        try:
            value, end = self._decoder.raw_decode(self.text, start)
        except json.JSONDecodeError as error:
            line = self.line(error.pos)
            comma = _COMMA_BEFORE_END.match(self.text, max(self.text.rfind(",", 0, error.pos + 1), 0))
            if comma is not None and error.pos <= comma.end():
                self._fail(_TRAILING_COMMA, error.pos)
            problem = f"is not valid JSON ({error.msg}, column {error.colno}); was the file written or copied whole?"
            raise InputError.at(self.path, problem, line=line) from error
        except RecursionError as error:
            raise InputError.at(self.path, _TOO_DEEP, line=self.line(start)) from error
        except ValueError as error:
            problem = f"holds a number that cannot be read ({error})."
            raise InputError.at(self.path, problem, line=self.line(start)) from error
        num_brackets = self.text.count("[", start, end) + self.text.count("{", start, end)
        if num_brackets > MAX_DEPTH and is_deep(value):
            raise InputError.at(self.path, _TOO_DEEP, line=self.line(start))
        return value, end

    def check(self, value: Any, start: int) -> None:
        """Raises InputError for the first field that is repeated or holds what JSON or UTF-8 does not have."""
        _check(value, "", self.path, self.line(start))

    def values(self) -> Iterator[tuple[int, Any]]:
        """Yields (position, value) of values that stand one behind another, with spaces or commas between."""
        position = self.skip_space(0)
        while position < len(self.text):
            value, end = self.value(position)
            yield position, value
            position = self.skip_space(end)
            if self.text[position : position + 1] == ",":
                position = self.skip_space(position + 1)

    def members(self, start: int) -> Iterator[tuple[str | int, int, Any]]:
        """Yields (key or index, position, value) of the members of the object or list that starts at a position.

        Raises:
            InputError: As `value` does; the line is that of the member.
        """
        is_object = self.text[start] == "{"
        closing = "}" if is_object else "]"
        position, index = self.skip_space(start + 1), 0
        while self.text[position : position + 1] != closing:
            key: str | int = index
            if is_object:
                key, position = self.value(position)
                self._expect(":", self.skip_space(position))
                position = self.skip_space(self.skip_space(position) + 1)
            value, end = self.value(position)
            yield key, position, value
            position, index = self.skip_space(end), index + 1
            if self.text[position : position + 1] != closing:
                self._expect(",", position)
                position = self.skip_space(position + 1)
                if self.text[position : position + 1] == closing:
                    self._fail(_TRAILING_COMMA, position)
        if (rest := self.skip_space(position + 1)) < len(self.text) and start == self.skip_space(0):
            self._fail("more text stands behind the end", rest)

    def _expect(self, character: str, position: int) -> None:
        if self.text[position : position + 1] != character:
            self._fail(f"expected {character!r}", position)

    def _fail(self, reason: str, position: int) -> NoReturn:
        line = self.line(min(position, len(self.text) - 1))
        raise InputError.at(
            self.path, f"is not valid JSON ({reason}); was the file written or copied whole?", line=line
        )


def parse_json(text: str, path: Path, line: int, decoder: StrictDecoder | None = None) -> Any:
    """Returns the JSON value of a line.

    Raises:
        InputError: When it is no valid JSON, or something stands behind it. The message names file, line and field.
    """
    decoder = decoder or StrictDecoder()
    decoder.is_odd = False
    source = JsonText(text.rstrip(), path, line, decoder)
    start = source.skip_space(0)
    value, end = source.value(start)
    if source.skip_space(end) < len(source.text):
        problem = f"is not valid JSON (extra text from column {end + 1} on); each line holds one object."
        raise InputError.at(path, problem, line=line)
    if decoder.is_odd or "\\u" in text:
        source.check(value, start)
    return value


def _check(value: Any, field: str, path: Path, line: int) -> None:
    """Raises InputError for the first field that holds what JSON or UTF-8 does not have."""
    problem = half_pair(value) if isinstance(value, str) else value.problem if isinstance(value, _Odd) else None
    if problem is not None:
        raise InputError.at(path, problem, line=line, field=field or None)
    if isinstance(value, Mapping):
        for name, member in value.items():
            _check(name, "a name of a field", path, line)
            _check(member, f"{field}.{name}" if field else name, path, line)
    elif isinstance(value, list):
        for index, member in enumerate(value):
            _check(member, f"{field}[{index}]", path, line)
