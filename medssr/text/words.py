"""Folds texts and splits them into words for comparisons: case, diacritics, apostrophes, plurals, numbers."""

from __future__ import annotations

import re
import unicodedata

_APOSTROPHES = "'\u2018\u2019\u02bc`\u00b4"
_APOSTROPHE = re.compile(f"[{_APOSTROPHES}]")
# What an apostrophe adds to an English word: "Wegener's" is about "Wegener".
_CLITIC = re.compile(rf"[{_APOSTROPHES}](?:s|t|m|d|re|ve|ll)\b", re.IGNORECASE)
# Letters that Unicode does not take apart into a base letter and a mark.
_BASE_OF = {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ħ": "h"}
_BASE_LETTERS = str.maketrans(_BASE_OF | {letter.upper(): base.upper() for letter, base in _BASE_OF.items()})
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
# Words that examinations and abstracts use whatever their subject.
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


def strip_marks(text: str) -> str:
    """Returns the text without diacritics, its case kept.

    Example:
        >>> strip_marks("Behçet, Sjögren, Østerlind")
        'Behcet, Sjogren, Osterlind'
    """
    if text.isascii():
        return text
    decomposed = unicodedata.normalize("NFKD", text)
    letters = "".join(char for char in decomposed if not unicodedata.combining(char)).translate(_BASE_LETTERS)
    return unicodedata.normalize("NFC", letters)


def drop_clitics(text: str) -> str:
    """Returns the text without the endings that English writes with an apostrophe.

    Example:
        >>> drop_clitics("Crohn's disease doesn't")
        'Crohn disease doesn'
    """
    return _CLITIC.sub("", text)


def fold(text: str) -> str:
    """Returns the text without case, diacritics and apostrophes.

    Example:
        >>> fold("Behçet's DISEASE")
        'behcets disease'
    """
    text = strip_marks(text.casefold())
    if not text.isascii():
        text = strip_marks(text.casefold())  # taking a letter apart can leave a capital, and folding it a mark
    return _APOSTROPHE.sub("", text)


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


def words_key(text: str) -> str:
    """Returns a key that texts share which differ in case, diacritics and punctuation alone; to compare, not to store.

    Example:
        >>> words_key("Beta-blocker, oral") == words_key("beta blocker (oral)")
        True
    """
    return " ".join(split_words(text))


def singular(word: str) -> str:
    """Returns a folded word without the ending of a plural.

    Harman's S stemmer (1991, "How effective is suffixing?", Journal of the American Society for Information Science
    42(1)), and "-is" stays. Stronger stemmers take "cervicitis" and "cervical" for one word.

    Example:
        >>> [singular(word) for word in ("allergies", "diseases", "kidneys", "fibrosis", "virus", "loss", "gas")]
        ['allergy', 'disease', 'kidney', 'fibrosis', 'virus', 'loss', 'gas']
    """
    if len(word) <= 3 or not word.endswith("s") or word.endswith(("us", "ss", "is")):
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    return word[:-1]
