"""Options in another order, and the questions whose options must stay where they are.

An option may refer to other options by letter ("both A and B", "all except (c)") or by position ("none of the above").
In another order it would refer to other texts, and the answer would be wrong. Synthesis rejects such options
(`option_about_options`); training and evaluation keep the order of such questions (`refers_to_order`).

In doubt an option counts as a reference: a question that keeps its order costs some variety, a wrong answer more.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from medssr.questions.lettered_text import LETTERS
from medssr.questions.record import Question
from medssr.text.words import FUNCTION_WORDS

# Letters that count as names of options even where a question has fewer of them. "I" is none of them: "I only" is about
# a Roman numeral, unless there are nine options.
_MIN_LETTERS = 8

_TIME = (
    r"half|part|stages?|hours?|days?|weeks?|months?|years?|mornings?|nights?|evenings?|trimesters?|meals?|dose|visits?"
)
_POPULATION = (
    r"with|without|who|whose|aged?|over|under|in|on|at|of|from|that|which|above|below|older|younger|taking|having"
)
_STATED = (
    r"are|is|apply|applies|mentioned|listed|given|options?|choices?|answers?|statements?|except|but|together|combined"
)
# "All of the above", "none of these options", "the former": options that are meant by their position.
_BY_POSITION = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # With "above" at the end or followed by a statement: "one finger above the umbilicus" is anatomy.
        r"\b(?:all|both|none|neither|any|either|each|some|one|two|three|four|more)\b.{,30}"
        rf"\b(?:above|below|preceding|foregoing)\b(?=\W*$|\W+(?:{_STATED})\b)",
        r"\b(?:all|both|none|neither|any|either|each|some|one|two|three|four|more)\s+of\s+(?:above|below|foregoing)\b",
        rf"\bthe\s+(?:above|following|former|latter|foregoing|preceding)\b(?!\s+(?:{_TIME})\b)",
        r"\b(?:all|both|none|neither|any|either)\s+(?:of\s+)?(?:the\s+)?(?:other\s+)?(?:options?|choices|answers)\b",
        rf"\b(?:all|both|none|neither|any|either)\s+(?:of\s+)?(?:these|those)\b(?!\s+(?:{_POPULATION})\b)",
        r"^\W*(?:all|both|none|neither|any|either)\s+of\s+them\W*$",
    )
)

# Words that an option which is made of nothing but other options may have beside their letters.
_CHOOSING = frozenset(
    """
    all alone any both but either except just neither none not only
    answer answers choice choices option options statement statements
    """.split()  # noqa: SIM905
)
_JOINING = frozenset(["and", "or", "nor", "&", "+", "/", ","])
_CLAIMING = frozenset(["correct", "true", "false", "right", "wrong"])
_FILLING = _CLAIMING | {"of", "the", "above", "are", "is", "together"}
_AROUND = string.punctuation + string.whitespace
_WORD_OR_SIGN = re.compile(r"[^\W_]+|[^\s().;'\"]")

# Nouns whose variants have letters: "vitamins A and C" are no options.
_LETTERED = re.compile(
    r"(?:[-\u2010\u2011]|\b(?:(?:apo)?(?:lipo)?proteins?|alleles?|amphotericin|antibod(?:y|ies)|antigens?|blood|botulinum"
    r"|cells?|chains?|child-pugh|class(?:es)?|cyclosporine?|cytochromes?|domains?|factors?|fib(?:er|re)s?|genes?"
    r"|genotypes?|grades?|groups?|ha?emophilias?|hepatitis|hla|hormones?|immunoglobulins?|influenzae?|intervals?"
    r"|isoforms?|levels?|lines?|phases?|points?|regions?|serogroups?|serotypes?|stages?|strains?|subtypes?|subunits?"
    r"|toxins?|trisomy|types?|variants?|virus(?:es)?|vitamins?|waves?|zones?)\s+)$",
    re.IGNORECASE,
)
# Words that may follow the letters of options: "A and B combined", but not "A and B antigens".
_FOLLOWING = FUNCTION_WORDS | _CLAIMING | {"alone", "combined", "followed", "simultaneously", "together"}
_NEXT_WORD = re.compile(r"\s*-?\s*([^\W\d_]+)")


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
    named = _patterns(_letters(question.options))[0]
    return named.search(question.stem) is not None or option_about_options(question.options) is not None


def option_about_options(options: Mapping[str, str]) -> str | None:
    """Returns the first option that refers to other options, or None."""
    letters = _letters(options)
    return next((text for text in options.values() if _refers(text, letters)), None)


def _refers(option: str, letters: str) -> bool:
    return (
        any(pattern.search(option) for pattern in _BY_POSITION)
        or _is_made_of_letters(option, letters)
        or _names_letters(option, letters)
    )


def _letters(options: Mapping[str, str]) -> str:
    return LETTERS[: max(_MIN_LETTERS, len(options))]


def _is_made_of_letters(option: str, letters: str) -> bool:
    """Returns whether an option consists of letters of other options: "A only", "all except (b)", "a & c"."""
    words = _WORD_OR_SIGN.findall(option.strip(_AROUND).casefold())
    others = set(words) - set(letters.casefold())
    if len(others) == len(words) or not others <= _CHOOSING | _JOINING | _FILLING:
        return False
    num_letters = sum(word not in others for word in words)
    return bool(others & (_CHOOSING | _CLAIMING)) or (num_letters > 1 and bool(others & _JOINING))


def _names_letters(option: str, letters: str) -> bool:
    """Returns whether a longer option names others by their letters: "option B", "A and C, in that order"."""
    named, chosen = _patterns(letters)
    if named.search(option):
        return True
    for match in chosen.finditer(option):
        following = _NEXT_WORD.match(option, match.end())
        is_followed_by_noun = following is not None and following[1].casefold() not in _FOLLOWING
        if not is_followed_by_noun and not _LETTERED.search(option, 0, match.start()):
            return True
    return False


@lru_cache
def _patterns(letters: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Returns patterns of "option B", and of letters that are joined or chosen ("A and C", "(a) & (b)", "only B").

    A small letter counts in brackets alone: else it may be the article.
    """
    letter = rf"(?:\(?\b[{letters}]\b\)?|\([{letters.lower()}]\))"
    joiner = r"\s*(?:(?:,|/|&|\+|\band\b|\bor\b|\bnor\b|\bbut\b|\bnot\b)\s*)+"
    named = re.compile(rf"\b(?:[Oo]ptions?|[Cc]hoices?|[Aa]nswers?)\s+{letter}")
    joined = rf"{letter}(?:{joiner}{letter})+"
    single = rf"\b(?:[Oo]nly|[Bb]oth|[Ee]ither|[Nn]either|[Ee]xcept)\s+{letter}(?!\s+(?:and|or|nor)\b)"
    return named, re.compile(rf"{joined}|{single}")
