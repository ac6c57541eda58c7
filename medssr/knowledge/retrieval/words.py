"""From text to the words that BM25 counts."""

from __future__ import annotations

import re
from functools import lru_cache

from medssr.text.words import drop_clitics, singular, strip_marks

# Counts up when `terms` changes, so that what was computed with other terms is not found any more.
VERSION = 1

_WORD = re.compile(r"\w+")
_ONE_LETTER_STOP_WORDS = frozenset({"a", "i"})


def tokenize(text: str) -> list[str]:
    """Returns the words of the text, one-letter words too, in lower case and without diacritics.

    Example:
        >>> tokenize("Behçet's disease, type 2")
        ['behcet', 'disease', 'type', '2']
    """
    return [word.lower() for word in _words(text)]


def terms(text: str) -> list[str]:
    """Returns the words of the text that say what it is about, plurals as singulars.

    Stop words are NLTK's English ones, as bm25s has them, but for those of one letter: "vitamin D" and "hepatitis A"
    are not "vitamin" and "hepatitis". Only a small "a" or "i" is a stop word.

    Example:
        >>> terms("What are the causes of a vitamin A deficiency?")
        ['cause', 'vitamin', 'a', 'deficiency']
    """
    return [term for word in _words(text) if (term := _term(word)) is not None]


def _words(text: str) -> list[str]:
    return _WORD.findall(drop_clitics(strip_marks(text)))


@lru_cache(maxsize=2**18)
def _term(word: str) -> str | None:
    lowered = word.lower()
    is_stop_word = word in _ONE_LETTER_STOP_WORDS if len(word) == 1 else lowered in _stop_words()
    return None if is_stop_word else singular(lowered)


@lru_cache(maxsize=1)
def _stop_words() -> frozenset[str]:
    from bm25s.stopwords import STOPWORDS_EN_PLUS

    return frozenset(STOPWORDS_EN_PLUS)
