"""Detects defects of benchmark questions by rules over their texts: pure functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from medssr.config import Defect
from medssr.questions import Question
from medssr.text.faults import missing_figure, option_key
from medssr.text.words import words_key

_LETTER_ALONE = re.compile(r"\W*[A-Za-z]\W*")


def find_defects(questions: Sequence[Question]) -> dict[Defect, list[str]]:
    """Returns the ids of the questions with each defect, in the order of the questions.

    - `duplicate`: stem and options are those of an earlier question, but for case, punctuation and the options' order.
    - `duplicate_options`: two options differ at most in case, hyphens, plural or a leading article.
    - `missing_figure`: the stem points to a figure or table that a text does not have.
    - `figure_letters`: every option is a lone letter, the name of a part of a figure.
    - `conflicting_gold`: another question has the same stem and another gold text; all of them are named.

    Example:
        >>> question = Question("1", "Which organ is shown here?", {"A": "heart", "B": "Heart"}, "A", "toy")
        >>> {defect.value: ids for defect, ids in find_defects([question]).items() if ids}
        {'duplicate_options': ['1'], 'missing_figure': ['1']}
    """
    of_one = {defect: [question.id for question in questions if has(question)] for defect, has in _OF_ONE.items()}
    return {Defect.duplicate: _duplicates(questions), **of_one, Defect.conflicting_gold: _conflicts(questions)}


def _duplicates(questions: Sequence[Question]) -> list[str]:
    seen: set[str] = set()
    repeated = []
    for question in questions:
        key = question.content_key
        if key in seen:
            repeated.append(question.id)
        seen.add(key)
    return repeated


def _conflicts(questions: Sequence[Question]) -> list[str]:
    golds: dict[str, set[str]] = {}
    stems = [words_key(question.stem) for question in questions]
    for stem, question in zip(stems, questions, strict=True):
        assert question.answer is not None
        golds.setdefault(stem, set()).add(option_key(question.options[question.answer]))
    return [question.id for stem, question in zip(stems, questions, strict=True) if len(golds[stem]) > 1]


def _has_duplicate_options(question: Question) -> bool:
    return len({option_key(option) for option in question.options.values()}) < len(question.options)


def _misses_a_figure(question: Question) -> bool:
    return missing_figure(question.stem) is not None


def _has_letters_of_a_figure(question: Question) -> bool:
    return all(_LETTER_ALONE.fullmatch(option) for option in question.options.values())


_OF_ONE: dict[Defect, Callable[[Question], bool]] = {
    Defect.duplicate_options: _has_duplicate_options,
    Defect.missing_figure: _misses_a_figure,
    Defect.figure_letters: _has_letters_of_a_figure,
}
