"""Checks that a drafted question passes before it counts; the first that fails is the reason of its rejection."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from medssr.questions import Question
from medssr.synthesis.generators import Draft, Rejection

# A question mark, or a last sentence with a word that asks, or an end that an option completes.
_ASKS = re.compile(
    r"\?"
    r"|\b(?:which|what|who|whom|whose|when|where|why|how|identify|select|choose|name|match|determine|calculate|state)\b[^.!?]*[.:]?$"
    r"|(?:\b(?:is|are|was|were|be|by|to|of|with|in|for|from|as|the|an?|except|include|includes)|[:_\u2026-])$",
    re.IGNORECASE,
)
_LEAK = re.compile(r"\bcorrect (?:answer|option|choice)\b|\banswer\s*(?:is\b|:|=)|\(correct\)", re.IGNORECASE)
_PICTURE = r"(?:figure|fig\.|image|photograph|photo|picture|graph|chart|diagram|table|tracing|illustration)s?"
_FIGURE = re.compile(
    "|".join(
        [
            rf"\b{_PICTURE} (?:\d|[a-d]\b|below|above|shown|provided|attached|(?:is|are) (?:shown|provided|attached))",
            rf"\b(?:see|refer to|shown in|depicted in) (?:(?:the|this|attached|accompanying|following) )*{_PICTURE}\b",
            rf"\b(?:following|accompanying|attached) {_PICTURE}\b",
            r"\b(?:is|are) (?:shown|depicted|pictured|illustrated)(?= ?[.,;:?)]|$)",
            r"\b(?:shown|depicted|pictured|illustrated) (?:here|below|above)\b",
        ]
    ),
    re.IGNORECASE,
)
_COMBINATION = re.compile(
    r"^\W*(?:"
    r"(?:all|none|neither|both|any) of (?:the )?(?:above|these|them|other options?|options?|choices|answers)"
    r"|(?:all|none) (?:the )?above"
    r"|(?:both )?[a-h](?: ?, ?[a-h])* ?(?:,? ?\band\b|,? ?\bor\b|&) ?[a-h]"
    r")\W*$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class FilterLimits:
    """The numbers that the checks hold a question to.

    Attributes:
        num_options: Options that a question has.
        min_stem_words: The fewest words of a stem.
        max_stem_words: The most words of a stem.
        max_option_words: The most words of an option.
    """

    num_options: int
    min_stem_words: int
    max_stem_words: int
    max_option_words: int


Check = Callable[[Draft, FilterLimits], str | None]


def empty_text(draft: Draft, _limits: FilterLimits) -> str | None:
    """Returns what is empty, or None."""
    if not draft.stem.strip():
        return "the stem is empty"
    return next((f"option {letter} is empty" for letter, text in draft.options.items() if not text.strip()), None)


def number_of_options(draft: Draft, limits: FilterLimits) -> str | None:
    """Returns how many options there are when that is not the number asked for, or None."""
    count = len(draft.options)
    return None if count == limits.num_options else f"{count} options, expected {limits.num_options}"


def distinct_options(draft: Draft, _limits: FilterLimits) -> str | None:
    """Returns two options that differ in case, blanks or a final stop alone, or None."""
    letters: dict[str, str] = {}
    for letter, text in draft.options.items():
        first = letters.setdefault(" ".join(text.casefold().split()).rstrip("."), letter)
        if first != letter:
            return f"options {first} and {letter} are the same"
    return None


def length(draft: Draft, limits: FilterLimits) -> str | None:
    """Returns which text is too short or too long, or None."""
    words = len(draft.stem.split())
    if not limits.min_stem_words <= words <= limits.max_stem_words:
        return f"the stem has {words} words, expected {limits.min_stem_words} to {limits.max_stem_words}"
    for letter, text in draft.options.items():
        if (words := len(text.split())) > limits.max_option_words:
            return f"option {letter} has {words} words, expected at most {limits.max_option_words}"
    return None


def stem_not_a_question(draft: Draft, _limits: FilterLimits) -> str | None:
    """Returns the end of a stem that asks nothing and is no sentence for an option to complete, or None."""
    return None if _ASKS.search(draft.stem.strip()) else f"ends in {draft.stem.strip()[-60:]!r}"


def answer_leaked(draft: Draft, _limits: FilterLimits) -> str | None:
    """Returns the words that speak of the right answer, or None."""
    return _first_match(_LEAK, [draft.stem, *draft.options.values()])


def missing_figure(draft: Draft, _limits: FilterLimits) -> str | None:
    """Returns the words that point to a figure or table that is not there, or None."""
    return _first_match(_FIGURE, [draft.stem, *draft.options.values()])


def all_or_none_of_the_above(draft: Draft, _limits: FilterLimits) -> str | None:
    """Returns an option that is made of other options, or None."""
    return _first_match(_COMBINATION, draft.options.values())


def _first_match(pattern: re.Pattern[str], texts: Iterable[str]) -> str | None:
    return next((match[0] for text in texts if (match := pattern.search(text.strip()))), None)


# In the order of the checks: the first that fails names the rejection.
FILTERS: Mapping[str, Check] = {
    check.__name__: check
    for check in (
        empty_text,
        number_of_options,
        distinct_options,
        length,
        stem_not_a_question,
        answer_leaked,
        missing_figure,
        all_or_none_of_the_above,
    )
}


def check_draft(draft: Draft, limits: FilterLimits) -> Rejection | None:
    """Returns a rejection with the name of the first filter that the draft fails, or None when it passes all."""
    for name, check in FILTERS.items():
        if (detail := check(draft, limits)) is not None:
            return Rejection(name, detail)
    return None


class SeenQuestions:
    """Rejects a question that is in the evaluation or was accepted before, whatever its order of options.

    Args:
        evaluation: The questions that are kept for evaluation.
    """

    def __init__(self, evaluation: Iterable[Question]) -> None:
        self._evaluation = {question.content_key: question.id for question in evaluation}
        self._accepted: dict[str, str] = {}

    def check(self, question: Question) -> Rejection | None:
        """Returns the rejection "in_evaluation" or "duplicate" with the other question's id, or None."""
        key = question.content_key
        if key in self._evaluation:
            return Rejection("in_evaluation", self._evaluation[key])
        if key in self._accepted:
            return Rejection("duplicate", self._accepted[key])
        return None

    def add(self, question: Question) -> None:
        """Counts the question among the accepted ones."""
        self._accepted.setdefault(question.content_key, question.id)
