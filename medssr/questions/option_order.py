"""The options of a question in another order, so that no letter is worth learning by itself."""

from __future__ import annotations

import random
import re
from functools import lru_cache

from medssr.questions import Question

# "All of the above", "none of these options", "the former": texts that mean other options by their place.
_BY_PLACE = re.compile(
    r"\b(?:all|both|none|neither|any|either|each|some|one|two|three|four|more)\b.{,30}\b(?:above|below|preceding|foregoing)\b"
    r"|\bthe\s+(?:above|following|former|latter|foregoing|preceding)\b"
    r"|\b(?:all|both|none|neither|any|either)\s+(?:of\s+)?(?:the\s+)?(?:these|those|(?:other\s+)?(?:options|choices|answers))\b",
    re.IGNORECASE,
)


def shuffle_options(question: Question, seed: int) -> Question:
    """Returns the question with its options in another order; answer and hidden truth follow their texts.

    A question whose options or stem refer to options by letter or place is returned as it is.

    Args:
        question: What is asked.
        seed: Decides the order.

    Example:
        >>> question = Question("q", "Which organ?", {"A": "liver", "B": "heart", "C": "lung"}, "A", "example")
        >>> found = shuffle_options(question, seed=1)
        >>> found.options, found.answer
        ({'A': 'heart', 'B': 'lung', 'C': 'liver'}, 'C')
    """
    if refers_to_order(question):
        return question
    letters = list(question.options)
    shuffled = letters.copy()
    random.Random(seed).shuffle(shuffled)
    new_letter = dict(zip(shuffled, letters, strict=True))
    provenance = question.provenance
    if provenance.get("truth") in new_letter:
        provenance = provenance | {"truth": new_letter[provenance["truth"]]}
    return Question(
        question.id,
        question.stem,
        {letter: question.options[old] for letter, old in zip(letters, shuffled, strict=True)},
        None if question.answer is None else new_letter[question.answer],
        question.source,
        question.entity,
        question.is_rare,
        provenance,
    )


def refers_to_order(question: Question) -> bool:
    """Returns whether an option means others by letter or place ("A and B", "none of the above"), or the stem does.

    Example:
        >>> refers_to_order(Question("q", "Which?", {"A": "gout", "B": "None of the above"}, "A", "example"))
        True
        >>> refers_to_order(Question("q", "Which?", {"A": "hepatitis B", "B": "vitamin A"}, "A", "example"))
        False
    """
    in_options, in_stem = _by_letter("".join(question.options))
    return in_stem.search(question.stem) is not None or any(
        _BY_PLACE.search(text) or in_options.search(text) for text in question.options.values()
    )


@lru_cache
def _by_letter(letters: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Returns what means options by letter, in an option ("A and C", "(a) & (b)", "only B") and in a stem ("option B").

    In doubt a question keeps its order, which costs no more than the variety.
    """
    letter = rf"(?:\(?\b[{letters}]\b\)?|\([{letters.lower()}]\))"
    named = rf"(?:[Oo]ptions?|[Cc]hoices?|[Aa]nswers?)\s+{letter}"
    joined = rf"{letter}\s*(?:,|/|&|\+|\band\b|\bor\b|\bnor\b|\bbut\b)+\s*{letter}"
    return re.compile(rf"{joined}|\b(?:{named}|(?:[Oo]nly|[Bb]oth|[Ee]ither|[Nn]either)\s+{letter})"), re.compile(
        rf"\b{named}"
    )
