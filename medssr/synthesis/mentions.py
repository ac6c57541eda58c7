"""Whether a text names a disease, and which words it takes from another text."""

from __future__ import annotations

from functools import lru_cache

from medssr.text.words import FUNCTION_WORDS, singular, split_words

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
    telling = [word for word in words if word not in _GENERIC] or words
    return bool(telling) and _forms(text).issuperset(telling)


@lru_cache(maxsize=64)
def _forms(text: str) -> frozenset[str]:
    return frozenset(_form(word) for word in split_words(text))


def _form(word: str) -> str:
    return _ROMAN.get(word) or singular(word)


def copied_words(text: str, source: str, least: int) -> str | None:
    """Returns the first `least` words in a row that both texts have, but for case and punctuation, or None.

    Example:
        >>> copied_words("A man has weakness of the proximal muscles.", "Weakness of the proximal muscles is usual.", 4)
        'weakness of the proximal'
    """
    words, padded = split_words(text), _padded(source)
    # Any run of `least` words holds one of these shorter runs whole: without them there is no need to look further.
    size = (least + 1) // 2
    anchors = (" ".join(words[start : start + size]) for start in range(0, len(words) - size + 1, least - size + 1))
    if not any(f" {anchor} " in padded for anchor in anchors):
        return None
    runs = (" ".join(words[start : start + least]) for start in range(len(words) - least + 1))
    return next((run for run in runs if f" {run} " in padded), None)


@lru_cache(maxsize=1024)
def _padded(source: str) -> str:
    return f" {' '.join(split_words(source))} "
