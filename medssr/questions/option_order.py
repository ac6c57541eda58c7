"""Options in another order; the questions whose options speak about other options keep theirs."""

from __future__ import annotations

import random
from dataclasses import replace

from medssr.answers.options_about_options import names_option, option_about_options
from medssr.questions.record import Question


def reorder_options(question: Question, order: str) -> Question:
    """Returns the question with its options in another order; answer and hidden truth follow their texts.

    Args:
        question: The question.
        order: The letters of the question in the order in which their texts are shown.

    Example:
        >>> question = Question("q", "Which organ?", {"A": "liver", "B": "heart", "C": "lung"}, "A", "example")
        >>> shown = reorder_options(question, "BCA")
        >>> shown.options, shown.answer
        ({'A': 'heart', 'B': 'lung', 'C': 'liver'}, 'C')
    """
    new_letter = dict(zip(order, question.options, strict=True))
    provenance = question.provenance
    if provenance.get("truth") in new_letter:
        provenance = provenance | {"truth": new_letter[provenance["truth"]]}
    return replace(
        question,
        options={new: question.options[old] for old, new in new_letter.items()},
        answer=None if question.answer is None else new_letter[question.answer],
        provenance=provenance,
    )


def shuffle_options(question: Question, seed: int) -> Question:
    """Returns the question with its options in an order drawn by a seed, which removes position bias.

    A question whose options or stem refer to options by letter or position is returned as it is.

    Example:
        >>> question = Question("q", "Which organ?", {"A": "liver", "B": "heart", "C": "lung"}, "A", "example")
        >>> shuffle_options(question, seed=1).options
        {'A': 'heart', 'B': 'lung', 'C': 'liver'}
    """
    if refers_to_order(question):
        return question
    letters = list(question.options)
    random.Random(seed).shuffle(letters)
    return reorder_options(question, "".join(letters))


def refers_to_order(question: Question) -> bool:
    """Returns whether an option refers to other options ("A and B", "none of the above"), or the stem to an option.

    Example:
        >>> refers_to_order(Question("q", "Which?", {"A": "gout", "B": "None of the above"}, "A", "example"))
        True
        >>> refers_to_order(Question("q", "Which?", {"A": "hepatitis B", "B": "vitamin A"}, "A", "example"))
        False
    """
    return names_option(question.stem, question.options) or option_about_options(question.options) is not None
