"""The names of the columns of question tables: none at all, as in MMLU, or spelt as a spreadsheet's owner likes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from medssr.questions.lettered_text import LETTERS

_MIN_CELLS = 4  # a question, two options and the letter of the answer
_LETTER_COLUMN = re.compile(r"(?:opt|option|choice)?[ _-]?\(?([a-z])\)?", re.IGNORECASE)
# Columns that hold all options; their last letter is no option's.
_OPTION_LISTS = frozenset({"options", "choices"})
_SPACES = re.compile(r"[\s-]+")
_QUESTION_COLUMNS = frozenset({"stem", "question_text", "question_stem"})
# Names in capitals that a form has.
_AS_IT_IS = frozenset({"QUESTION", "CONTEXTS", "answerKey"})


def headerless_names(first_row: Sequence[str]) -> list[str] | None:
    """Returns the names of the columns of a table that has no header: question, A, B ..., answer. None for any other.

    Example:
        >>> headerless_names(["Which organ makes bile?", "liver", "heart", "A"])
        ['question', 'A', 'B', 'answer']
        >>> headerless_names(["question", "A", "B", "answer"])
    """
    num_options = len(first_row) - 2
    letters = list(LETTERS[:num_options])
    if len(first_row) < _MIN_CELLS or num_options > len(LETTERS) or first_row[-1].strip() not in letters:
        return None
    if any(column_name(cell) == "question" for cell in first_row):
        return None
    return ["question", *letters, "answer"]


def renamed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the record with the names of its columns as the forms have them."""
    return {column_name(name): value for name, value in record.items()}


@lru_cache(maxsize=1024)
def column_name(name: str) -> str:
    """Returns the name of a column as the forms have it.

    Example:
        >>> [column_name(name) for name in ("Question", "Option A", "b", "Answer idx", "opa", "Choices")]
        ['question', 'A', 'B', 'answer_idx', 'opa', 'choices']
    """
    if name in _AS_IT_IS:
        return name
    letter = _LETTER_COLUMN.fullmatch(name.strip())
    if letter is not None and name.strip().lower() not in _OPTION_LISTS:
        return letter[1].upper()
    plain = _SPACES.sub("_", name.strip().lower())
    return "question" if plain in _QUESTION_COLUMNS else plain
