"""Checks that a drafted question passes before it counts; the first that fails is the reason of its rejection."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from medssr.answers.options_about_options import option_about_options
from medssr.synthesis.generators import Draft, Rejection
from medssr.synthesis.plan import SynthesisRequest
from medssr.text import faults as text_faults
from medssr.text.words import FUNCTION_WORDS, singular, split_words


@dataclass(frozen=True, slots=True)
class FilterLimits:
    """The limits of the checks.

    Attributes:
        num_options: Options that a question has.
        min_stem_words: The fewest words of a stem.
        max_stem_words: The most words of a stem.
        max_option_words: The most words of an option.
        max_copied_words: The most words in a row that a stem may take from a passage of its prompt.
    """

    num_options: int
    min_stem_words: int
    max_stem_words: int
    max_option_words: int
    max_copied_words: int


Check = Callable[[Draft, SynthesisRequest, FilterLimits], str | None]


def empty_text(draft: Draft, _request: SynthesisRequest, _limits: FilterLimits) -> str | None:
    """Returns which text is empty, or None."""
    if not draft.stem.strip():
        return "the stem is empty"
    return next((f"option {letter} is empty" for letter, text in draft.options.items() if not text.strip()), None)


def garbage(draft: Draft, _request: SynthesisRequest, _limits: FilterLimits) -> str | None:
    """Returns why a text is garbled, or None."""
    return _first_fault(text_faults.garbage, _texts(draft))


def number_of_options(draft: Draft, _request: SynthesisRequest, limits: FilterLimits) -> str | None:
    """Returns how many options there are when that is not the number asked for, or None."""
    count = len(draft.options)
    return None if count == limits.num_options else f"{count} options, expected {limits.num_options}"


def distinct_options(draft: Draft, _request: SynthesisRequest, _limits: FilterLimits) -> str | None:
    """Returns two options that mean the same: they differ in case, hyphens, apostrophes, plural or articles alone."""
    letters: dict[str, str] = {}
    for letter, text in draft.options.items():
        first = letters.setdefault(text_faults.option_key(text), letter)
        if first != letter:
            return f"options {first} and {letter} are the same"
    return None


def length(draft: Draft, _request: SynthesisRequest, limits: FilterLimits) -> str | None:
    """Returns which text is too short or too long, or None."""
    words = len(draft.stem.split())
    if not limits.min_stem_words <= words <= limits.max_stem_words:
        return f"the stem has {words} words, expected {limits.min_stem_words} to {limits.max_stem_words}"
    for letter, text in draft.options.items():
        if (words := len(text.split())) > limits.max_option_words:
            return f"option {letter} has {words} words, expected at most {limits.max_option_words}"
    return None


def not_english(draft: Draft, _request: SynthesisRequest, _limits: FilterLimits) -> str | None:
    """Returns how the stem differs from English, or None."""
    return text_faults.not_english(draft.stem)


def stem_not_a_question(draft: Draft, _request: SynthesisRequest, _limits: FilterLimits) -> str | None:
    """Returns the end of a stem that asks nothing and is no sentence for an option to complete, or None."""
    return text_faults.asks_nothing(draft.stem)


def answer_leaked(draft: Draft, _request: SynthesisRequest, _limits: FilterLimits) -> str | None:
    """Returns the words that speak of the right answer, or None."""
    return _first_fault(text_faults.leaked_answer, _texts(draft))


def missing_figure(draft: Draft, _request: SynthesisRequest, _limits: FilterLimits) -> str | None:
    """Returns the words that point to a figure or table that is not there, or None."""
    return _first_fault(text_faults.missing_figure, _texts(draft))


def all_or_none_of_the_above(draft: Draft, _request: SynthesisRequest, _limits: FilterLimits) -> str | None:
    """Returns an option that refers to other options, or None."""
    return option_about_options(draft.options)


def entity_absent(draft: Draft, request: SynthesisRequest, _limits: FilterLimits) -> str | None:
    """Returns the disease that was asked for when neither stem nor options name it, or None.

    A stem may describe the disease and leave its name to an option; a question that names it nowhere cannot be told
    from one about another disease, unless its generator knows the truth: it was written from what is known of the
    disease.
    """
    entity = request.draw.entity
    if (
        entity is None
        or draft.truth is not None
        or any(mentions(text, name) for name in (entity.name, *entity.synonyms) for text in _texts(draft))
    ):
        return None
    return entity.name


def passage_copied(draft: Draft, request: SynthesisRequest, limits: FilterLimits) -> str | None:
    """Returns the words in a row that the stem takes from a passage of its prompt when they are too many, or None.

    The name of the disease does not count: it may be long, and has to be as it is.
    """
    entity = request.draw.entity
    pieces = [draft.stem] if entity is None else re.split(re.escape(entity.name), draft.stem, flags=re.IGNORECASE)
    for hit in request.hits:
        for piece in pieces:
            if (copy := copied_words(piece, hit.passage.text, limits.max_copied_words + 1)) is not None:
                return f"{hit.passage.id}: {copy}"
    return None


def _texts(draft: Draft) -> list[str]:
    return [draft.stem, *draft.options.values()]


def _first_fault(fault: Callable[[str], str | None], texts: Iterable[str]) -> str | None:
    return next((words for text in texts if (words := fault(text)) is not None), None)


# In the order of the checks: the first that fails names the rejection.
FILTERS: Mapping[str, Check] = {
    check.__name__: check
    for check in (
        empty_text,
        garbage,
        number_of_options,
        distinct_options,
        length,
        not_english,
        stem_not_a_question,
        answer_leaked,
        missing_figure,
        all_or_none_of_the_above,
        entity_absent,
        passage_copied,
    )
}


def check_draft(draft: Draft, request: SynthesisRequest, limits: FilterLimits) -> Rejection | None:
    """Returns a rejection with the name of the first filter that the draft fails, or None when it passes all."""
    for name, check in FILTERS.items():
        if (detail := check(draft, request, limits)) is not None:
            return Rejection(name, detail)
    return None


_ROMAN = {"ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6", "vii": "7", "viii": "8", "ix": "9", "x": "10"}
# Words of disease names that texts add, leave out or exchange.
_GENERIC = FUNCTION_WORDS | {"anomaly", "deficiency", "disease", "disorder", "form", "syndrome", "type", "variant"}


def mentions(text: str, name: str) -> bool:
    """Returns whether the text has the words of the name, in any order and in any form of case, hyphens and plural.

    Words such as "disease" or "type" may be missing, and Roman numerals count as numbers. A name of such words alone
    has to occur as it is.

    Example:
        >>> mentions("What causes Ehlers Danlos syndrome of the vascular type?", "Vascular Ehlers-Danlos syndrome")
        True
        >>> mentions("Which gene is mutated in glycogen storage disease type 2?", "Glycogen storage disease type III")
        False
    """
    words = [_form(word) for word in split_words(name)]
    specific = [word for word in words if word not in _GENERIC] or words
    return bool(specific) and _forms(text).issuperset(specific)


@lru_cache(maxsize=64)
def _forms(text: str) -> frozenset[str]:
    return frozenset(_form(word) for word in split_words(text))


def _form(word: str) -> str:
    return _ROMAN.get(word) or singular(word)


def copied_words(text: str, source: str, num_words: int) -> str | None:
    """Returns the first `num_words` words in a row that both texts have, but for case and punctuation, or None.

    Example:
        >>> copied_words("A man has weakness of the proximal muscles.", "Weakness of the proximal muscles is usual.", 4)
        'weakness of the proximal'
    """
    words, padded = split_words(text), _padded(source)
    # Any run of `num_words` words holds one of these shorter runs whole, so that without any of them there is no copy.
    size = (num_words + 1) // 2
    anchors = (" ".join(words[start : start + size]) for start in range(0, len(words) - size + 1, num_words - size + 1))
    if not any(f" {anchor} " in padded for anchor in anchors):
        return None
    runs = (" ".join(words[start : start + num_words]) for start in range(len(words) - num_words + 1))
    return next((run for run in runs if f" {run} " in padded), None)


@lru_cache(maxsize=1024)
def _padded(source: str) -> str:
    return f" {' '.join(split_words(source))} "
