"""Normalises names of diseases, so that sources can be joined by them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from medssr.text.words import drop_clitics, fold

_WORD = re.compile(r"[^\W_]+")
_ROMAN = re.compile(r"(?=[xvi])(x{0,3})(ix|iv|v?i{0,3})([a-e]?)")
_VALUE_OF = {"": 0, "i": 1, "ii": 2, "iii": 3, "iv": 4, "v": 5, "vi": 6, "vii": 7, "viii": 8, "ix": 9}
# Words that could be numerals with a letter.
_WORDS_TOO = frozenset(["ia", "ib", "ic", "id", "ie", "via", "vic", "vie"])
# What they are numerals behind, and a single X too: "factor X" is factor 10, "fragile X" names the chromosome.
_NUMBERED = frozenset(["class", "factor", "grade", "group", "stage", "subtype", "type"])


@lru_cache(maxsize=1 << 17)
def normalize_name(name: str) -> str:
    """Returns the name in a form in which spellings of it are equal; to join by, never to show.

    Case, diacritics, hyphens and other punctuation, possessives and Roman numerals make no difference; Greek letters
    are spelt out. Words are kept: a disease and a syndrome of one name stay apart.

    Example:
        >>> normalize_name("Behçet's disease")
        'behcet disease'
        >>> normalize_name("Glycogen-storage disease, type IIb") == normalize_name("glycogen storage disease type 2B")
        True
        >>> normalize_name("Fragile X syndrome"), normalize_name("Factor X deficiency")
        ('fragile x syndrome', 'factor 10 deficiency')
    """
    words = _WORD.findall(_spelt_out(fold(drop_clitics(name))))
    return " ".join(_number(word, before) for word, before in zip(words, ["", *words], strict=False))


def join_keys(name: str) -> tuple[str, ...]:
    """Returns the normalised name, and what it becomes where letters with diacritics were lost, if that differs.

    MedQuAD lost them: it has "Alstrm syndrome" for "Alström syndrome".

    Example:
        >>> join_keys("Alström syndrome"), join_keys("Fabry disease")
        (('alstrom syndrome', 'alstrm syndrome'), ('fabry disease',))
    """
    composed = unicodedata.normalize("NFC", name)
    lossy = "".join(char for char in composed if char.isascii() or not _is_latin(char))
    keys = dict.fromkeys((normalize_name(name), normalize_name(lossy)))
    return tuple(key for key in keys if key)


def all_keys(names: Iterable[str]) -> frozenset[str]:
    """Returns the keys of all the names."""
    return frozenset(key for name in names for key in join_keys(name))


def _spelt_out(text: str) -> str:
    if text.isascii():
        return text
    return "".join(f" {_greek(char)} " if "\u0370" <= char <= "\u03ff" else char for char in text)


def _greek(letter: str) -> str:
    """Returns the name of a Greek letter, anything else as it is."""
    name = unicodedata.name(letter, "")
    match = re.match(r"GREEK SMALL LETTER (?:FINAL )?(\w+)", name)
    return match[1].lower() if match else letter


def _number(word: str, before: str) -> str:
    """Returns a Roman numeral below forty, with or without a letter behind it, in digits; any other word as it is."""
    match = _ROMAN.fullmatch(word)
    if not match:
        return word
    tens, ones, letter = match.groups()
    is_doubtful = word == "x" or word in _WORDS_TOO
    if is_doubtful and before not in _NUMBERED:
        return word
    return f"{10 * len(tens) + _VALUE_OF[ones]}{letter}"


def _is_latin(char: str) -> bool:
    return char.isalpha() and unicodedata.name(char, "").startswith("LATIN")
