"""Words of a text as comparisons see them: which words two texts share, and how much a shared word says."""

from __future__ import annotations

import re
import unicodedata

_APOSTROPHE = re.compile("['\u2018\u2019\u02bc`\u00b4]")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
# Scripts that are written without blanks: each character is a word.
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")

FUNCTION_WORDS = frozenset(
    """
    a about after all also an and any are as at be been before being between both but by can could did do does during
    each for from had has have he her his how i if in into is it its may might more most no not of on only or other our
    over s shall she should such t than that the their them then there these they this those to under us was we were
    what when where which who whom whose why will with within without would you your
    """.split()  # noqa: SIM905
)
# What examinations and abstracts say whatever they are about.
EXAM_WORDS = frozenset(
    """
    0 admitted appropriate associated best blood boy brought c cause caused causes characteristic clinic clinical comes
    common correct day days department diagnosed diagnosis disease disorder doctor dose due effect effective emergency
    examination except exam f false feature features female finding findings following girl history hospital hour hours
    likely male man management mg mm month months next normal noted old pain patient patients physical physician
    presented presenting presents pressure pulse regarding reports reveals risk seen show showed shows sign signs
    statement statements states step symptom symptoms syndrome temperature test tests therapy treated treatment true
    typical use used week weeks woman year years
    """.split()  # noqa: SIM905
)


def fold(text: str) -> str:
    """Returns the text without case, diacritics and apostrophes.

    Example:
        >>> fold("Behçet's DISEASE")
        'behcets disease'
    """
    if not text.isascii():
        marked = unicodedata.normalize("NFKD", text)
        text = unicodedata.normalize("NFC", "".join(char for char in marked if not unicodedata.combining(char)))
    return _APOSTROPHE.sub("", text.casefold())


def split_words(text: str) -> list[str]:
    """Returns the folded words; punctuation separates words.

    Example:
        >>> split_words("A 45-year-old's IL-6 (4.5 pg/mL)")
        ['a', '45', 'year', 'olds', 'il', '6', '4', '5', 'pg', 'ml']
    """
    return _WORD.findall(fold(text))


def mask_numbers(text: str) -> str:
    """Returns the text with 0 in place of every number.

    Example:
        >>> mask_numbers("CD4 of 1,200.5 and 3")
        'CD0 of 0 and 0'
    """
    return _NUMBER.sub("0", text)


def singular(word: str) -> str:
    """Returns the word without the s of a plural.

    Example:
        >>> [singular(word) for word in ("genes", "diabetes", "virus", "diagnosis", "loss", "gas")]
        ['gene', 'diabete', 'virus', 'diagnosis', 'loss', 'gas']
    """
    is_plural = len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is"))
    return word[:-1] if is_plural else word
