"""The questions of a benchmark by what they are like: reasoning or knowledge, length, specialty."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medssr.questions import Question
from medssr.questions.specialty import specialty
from medssr.text.words import split_words

LENGTHS = ("short", "medium", "long")


def axes_of(questions: Sequence[Question]) -> dict[str, dict[str, set[str]]]:
    """Returns the ids of the questions by axis and by value on it; an axis on which nothing is known is left out.

    - `is_reasoning`: "reasoning" and "knowledge", by the field of that name in the released files.
    - `length`: thirds of the benchmark by the words of the stem (see `length_bounds`).
    - `specialty`: a guess by key words (`medssr.questions.specialty.specialty`).
    """
    axes: dict[str, dict[str, set[str]]] = {"is_reasoning": {}, "length": {}, "specialty": {}}

    def add(axis: str, value: str, question: Question) -> None:
        axes[axis].setdefault(value, set()).add(question.id)

    low, high = length_bounds(questions)
    for question in questions:
        flag = question.provenance.get("is_reasoning")
        if isinstance(flag, bool):
            add("is_reasoning", "reasoning" if flag else "knowledge", question)
        num_words = len(split_words(question.stem))
        add("length", LENGTHS[(num_words > low) + (num_words > high)], question)
        add("specialty", specialty(question), question)
    return {axis: values for axis, values in axes.items() if values}


def length_bounds(questions: Sequence[Question]) -> tuple[int, int]:
    """Returns the most words of the stem of a short question, and of one of medium length: thirds of the benchmark.

    Example:
        >>> stems = ["one", "one two", "one two three"]
        >>> length_bounds([Question(stem, stem, {"A": "x", "B": "y"}, "A", "toy") for stem in stems])
        (1, 2)
    """
    lengths = sorted(len(split_words(question.stem)) for question in questions)
    return lengths[math.ceil(len(lengths) / 3) - 1], lengths[math.ceil(2 * len(lengths) / 3) - 1]
