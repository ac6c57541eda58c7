"""The ways in which question files write options: in a field, in columns, below the stem, or always the same."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from medssr.errors import shown
from medssr.questions.gold import Option
from medssr.questions.lettered_text import LETTERS, parse_lettered_text, without_letters
from medssr.questions.record import FieldError

# What data sets call the letter and the text of an option, where it is an object.
_LABELS = ("letter", "key", "label", "aid", "id", "option_id")
_TEXTS = ("content", "value", "text", "atext", "answer", "option")
# MedXpertQA's texts repeat the options behind the question.
_ANSWER_CHOICES = re.compile(r"\bAnswer Choices:\s*+\(A\).*\Z", re.DOTALL)


class OptionsReader(Protocol):
    """A way in which options are written."""

    def fields(self, names: Collection[str]) -> tuple[str, ...] | None:
        """Returns the fields of a file that hold its options, by the names of all its fields; None where none do."""
        ...

    def read(self, record: Mapping[str, Any], fields: Sequence[str]) -> list[Option]:
        """Returns the options of a record in order. Raises FieldError for what is missing or wrong."""
        ...

    def stem(self, text: str, options: Sequence[Option]) -> str:
        """Returns the stem in the text of a question, which may repeat its options."""
        ...


@dataclass(frozen=True, slots=True)
class LetteredLines:
    """Options as lettered lines at the end of the question's text, which is in `field`."""

    field: str

    def fields(self, names: Collection[str]) -> tuple[str, ...] | None:
        """Returns no field, because the options are in the field of the question."""
        return () if self.field in names else None

    def read(self, record: Mapping[str, Any], fields: Sequence[str]) -> list[Option]:
        """Returns the options below the stem."""
        try:
            return [Option(option, letter) for letter, option in self._parse(record[self.field])[1].items()]
        except FieldError as error:
            if len(record) < 2:
                raise
            advice = "Options in fields of their own are known by the names of docs/question_files.md"
            problem = f"{error.problem} {advice}; found the fields {', '.join(map(str, record))}."
            raise FieldError(error.field, problem) from error

    def stem(self, text: str, options: Sequence[Option]) -> str:
        """Returns the text above the options."""
        return self._parse(text)[0]

    def _parse(self, text: str) -> tuple[str, dict[str, str]]:
        try:
            return parse_lettered_text(text)
        except ValueError as error:
            problem = f"{error}; found a text that ends in {text[-60:]!r}. Give one option a line: 'A. text'."
            raise FieldError(self.field, problem) from error


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same options for every question, such as yes, no and maybe."""

    texts: tuple[str, ...]

    def fields(self, names: Collection[str]) -> tuple[str, ...] | None:
        """Returns no field, because the options are in none."""
        return ()

    def read(self, record: Mapping[str, Any], fields: Sequence[str]) -> list[Option]:
        """Returns the options."""
        return [Option(text) for text in self.texts]

    def stem(self, text: str, options: Sequence[Option]) -> str:
        """Returns the text."""
        return text.strip()


@dataclass(frozen=True, slots=True)
class Columns:
    """A field for each option; `pattern` makes its name from `{small}` (a), `{capital}` (A) or `{index}` (0)."""

    pattern: str

    def fields(self, names: Collection[str]) -> tuple[str, ...] | None:
        """Returns the fields A, B, C ... up to the first that is not there; None for fewer than two."""
        columns: list[str] = []
        for index, letter in enumerate(LETTERS):
            column = self.pattern.format(small=letter.lower(), capital=letter, index=index)
            if column not in names:
                break
            columns.append(column)
        return tuple(columns) if len(columns) > 1 else None

    def read(self, record: Mapping[str, Any], fields: Sequence[str]) -> list[Option]:
        """Returns the options up to the last that is not empty."""
        values = [record.get(name) for name in fields]
        while values and _is_empty(values[-1]):
            values.pop()
        return [
            Option(_option_text(value, name), LETTERS[fields.index(name)])
            for value, name in zip(values, fields, strict=False)
        ]

    def stem(self, text: str, options: Sequence[Option]) -> str:
        """Returns the text without options that it repeats."""
        return _without_repeated_options(text, options)


@dataclass(frozen=True, slots=True)
class Field:
    """All options in one field: by letter, or as a list of texts or of objects with a letter and a text."""

    name: str

    def fields(self, names: Collection[str]) -> tuple[str, ...] | None:
        """Returns the field."""
        return (self.name,) if self.name in names else None

    def read(self, record: Mapping[str, Any], fields: Sequence[str]) -> list[Option]:
        """Returns the options up to the last that is not empty; some sets fill up questions with fewer options."""
        value = record.get(self.name)
        if value is None:
            state = "is null" if self.name in record else "is missing"
            raise FieldError(self.name, f"{state}; every question needs options. Found the fields {', '.join(record)}.")
        if isinstance(value, str):
            value = _from_cell(value, self.name)
        if isinstance(value, Mapping) and value and all(isinstance(member, list) for member in value.values()):
            value = _transposed(value, self.name)
        if isinstance(value, list):
            entries = [_entry(item, self.name) for item in value]
        elif isinstance(value, Mapping):
            entries = [
                (str(label), value[label]) for label in sorted(value, key=_label_order) if value[label] is not None
            ]
        else:
            problem = f"found {shown(value)}, expected an object of letter to text or a list."
            raise FieldError(self.name, problem)
        while entries and _is_empty(entries[-1][1]):
            entries.pop()
        labels = [label for label, _ in entries if label is not None]
        letters = [label.upper() for label in labels]
        are_letters = bool(letters) and all(len(letter) == 1 and letter in LETTERS for letter in letters)
        if are_letters and letters != list(LETTERS[: len(entries)]):
            raise FieldError(self.name, f"the options are lettered {', '.join(labels)}, not A, B, C ... in order.")
        return [Option(_option_text(text, self.name), label) for label, text in entries]

    def stem(self, text: str, options: Sequence[Option]) -> str:
        """Returns the text without options that it repeats."""
        return _without_repeated_options(text, options)


def _entry(item: Any, field: str) -> tuple[str | None, Any]:
    if not isinstance(item, Mapping):
        return None, item
    text = _first(item, _TEXTS)
    if text is None:
        problem = f"found {shown(dict(item))}, expected an object with a letter and a text ({', '.join(_TEXTS)})."
        raise FieldError(field, problem)
    label = _first(item, _LABELS)
    return None if label is None else str(label), text


def _first(item: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((item[name] for name in names if item.get(name) is not None), None)


def _transposed(columns: Mapping[str, list[Any]], field: str) -> list[dict[str, Any]]:
    """Returns objects of lists, as `datasets` keeps lists of objects, as a list of objects."""
    if len({len(column) for column in columns.values()}) > 1:
        raise FieldError(field, f"found lists of different lengths in {', '.join(columns)}.")
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _from_cell(text: str, field: str) -> Any:
    """Returns the options that a cell of a table holds as JSON, as Python writes a list, or as lettered lines."""
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        # NumPy writes no commas, so that Python reads its list as one text.
        if isinstance(value, Mapping) or (isinstance(value, list) and len(value) > 1):
            return value
    try:
        return parse_lettered_text(text if text.startswith("\n") else f"\n{text}")[1]
    except ValueError as error:
        expected = "an object of letter to text, a list with commas, or a lettered line an option"
        problem = f"found {shown(text)}, expected {expected}."
        raise FieldError(field, problem) from error


def _option_text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise FieldError(field, f"found {shown(value)} as an option, expected a text; put it in quotes.")
    if not value.strip():
        raise FieldError(field, "holds an empty option; give its text, or remove it.")
    return value


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _label_order(label: str) -> tuple[int, str]:
    """Sorts numbers by size and letters by the alphabet: the members of an object have no order."""
    text = str(label)
    return (int(text), "") if text.isascii() and text.isdecimal() and len(text) < 6 else (0, text)


def _without_repeated_options(text: str, options: Sequence[Option]) -> str:
    texts = [option.text.strip() for option in options]
    repeated = _ANSWER_CHOICES.search(text)
    if repeated and all(option in repeated[0] for option in texts):
        return text[: repeated.start()].strip()
    try:
        stem, lines = parse_lettered_text(text)
    except ValueError:
        return text.strip()
    return stem if without_letters(list(lines.values())) == texts and stem else text.strip()
