"""Finds the option that a data set's gold answer means: a letter, a text, or an index from 0 or from 1."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from medssr.errors import shown
from medssr.questions.lettered_text import LETTERS, lone_letter, without_letters

_MAX_DIGITS = 6


class IndexBase(Enum):
    """What a whole number as gold answer counts from; `from_data`: what the numbers of the whole file tell."""

    none = "none"
    zero = "zero"
    from_data = "from_data"


@dataclass(frozen=True, slots=True)
class Option:
    """An option as a data set has it.

    Attributes:
        text: Its text.
        label: What the data set calls it: a letter, a number; None where it has only its place.
    """

    text: str
    label: str | None = None


def is_absent(value: Any) -> bool:
    """Returns whether a gold answer is none: null, an empty text or list, or -1, which stands for a hidden one."""
    if isinstance(value, list):
        return not value
    if isinstance(value, str):
        return value.strip() in ("", "-1")
    return value is None or whole_number(value) == -1


def whole_number(value: Any) -> int | None:
    """Returns a value as a whole number, also one that a table holds as a text or as 3.0; None for any other.

    Example:
        >>> whole_number("3"), whole_number("3.0"), whole_number(3.0), whole_number("three"), whole_number(True)
        (3, 3, 3, None, None)
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str):
        digits = re.sub(r"\.0+\Z", "", value.strip())
        is_number = digits.removeprefix("-").isdecimal() and digits.isascii() and len(digits) < _MAX_DIGITS
        return int(digits) if is_number else None
    return None


def gold_letter(value: Any, options: Sequence[Option], index_base: int | None, *, is_text_first: bool) -> str:
    """Returns the letter of the option that a gold answer means.

    Args:
        value: The gold answer, alone or as a list of one.
        options: The options in order.
        index_base: What whole numbers count from; None: they are no indices.
        is_text_first: Whether the answer is rather the text of an option than its letter, where it could be both.

    Raises:
        ValueError: When it means none of the options, or more than one.

    Example:
        >>> options = [Option("liver"), Option("heart")]
        >>> gold_letter("B", options, None, is_text_first=False)
        'B'
        >>> gold_letter("Liver", options, None, is_text_first=True)
        'A'
        >>> gold_letter(1, options, 0, is_text_first=False)
        'B'
    """
    if isinstance(value, list):
        if len(value) != 1:
            raise ValueError(f"found {shown(value)}, expected one letter.")
        (value,) = value
    letters = LETTERS[: len(options)]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"found {shown(value)}, expected the letter or the text of an option.")
    readings = [_by_label, _by_text] if not is_text_first else [_by_text, _by_label]
    for reading in readings:
        index = reading(value, options)
        if index is not None:
            return letters[index]
    number = whole_number(value)
    if number is not None and index_base is not None and 0 <= number - index_base < len(options):
        return letters[number - index_base]
    num_same = sum(_folded(option.text) == _folded(str(value)) for option in options)
    problem = f"is the text of {num_same} options" if num_same > 1 else "is no option"
    raise ValueError(f"{shown(value)} {problem}; the options are {', '.join(letters)}.")


def base_of_indices(golds: Mapping[int, set[int]]) -> int:
    """Returns whether the gold answers of a file count from 0 or from 1.

    Args:
        golds: The whole numbers that occur, by the number of options of their questions.

    Raises:
        ValueError: When both 0 and the number of options occur, or neither.

    Example:
        >>> base_of_indices({4: {1, 4}, 5: {2}}), base_of_indices({4: {0, 3}})
        (1, 0)
    """
    has_zero = any(0 in numbers for numbers in golds.values())
    has_last = any(num_options in numbers for num_options, numbers in golds.items())
    if has_zero != has_last:
        return 0 if has_zero else 1
    if has_zero:
        raise ValueError("holds 0, the first option counted from 0, and also the last one counted from 1; correct it.")
    numbers = sorted(set().union(*golds.values()))
    raise ValueError(
        f"holds only {', '.join(map(str, numbers))}, which may count the options from 0 or from 1; give more of the "
        "file, so that the first or the last option occurs, or write letters (A, B, ...) instead."
    )


def _by_label(value: str | float, options: Sequence[Option]) -> int | None:
    text = str(value).strip()
    labels = [option.label for option in options]
    if text in labels:
        return labels.index(text)
    letter = lone_letter(text) if isinstance(value, str) else None
    index = LETTERS.index(letter) if letter is not None else len(options)
    return index if index < len(options) else None


def _by_text(value: str | float, options: Sequence[Option]) -> int | None:
    if not isinstance(value, str):
        return None
    wanted = _folded(value)
    matches = [
        index
        for index, option in enumerate(options)
        if wanted in (text := _folded(option.text), *(f"{mark} {text}" for mark in _marks(index)))
    ]
    return matches[0] if len(matches) == 1 else None


def _marks(index: int) -> list[str]:
    """Returns how a text may say which option it is: "c. heart"."""
    letter = LETTERS[index].casefold()
    return [f"{letter}.", f"{letter})", f"({letter})", f"{letter}:"]


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def unlettered(options: Sequence[Option]) -> list[Option]:
    """Returns the options without letters in their texts, where all carry theirs.

    Example:
        >>> unlettered([Option("A. liver"), Option("B. heart")])[1]
        Option(text='heart', label=None)
    """
    texts = without_letters([option.text for option in options])
    return [Option(text, option.label) for text, option in zip(texts, options, strict=True)]
