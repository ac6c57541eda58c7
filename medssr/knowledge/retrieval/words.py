"""From text to the words that BM25 counts."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# Counts up when `terms` changes, so that what was computed with other terms is not found any more.
VERSION = 1

_WORD = re.compile(r"\w+")
# What an apostrophe adds to an English word: "Wegener's" is about "Wegener".
_CLITIC = re.compile(r"['\u2019](?:s|t|m|d|re|ve|ll)\b", re.IGNORECASE)
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


def singular(word: str) -> str:
    """Returns the word without a plural's ending.

    Harman's S stemmer (1991, "How effective is suffixing?", Journal of the American Society for Information Science
    42(1)), and "-is" stays. Stronger stemmers take "cervicitis" and "cervical" for one word.

    Example:
        >>> [singular(word) for word in ("allergies", "diseases", "kidneys", "fibrosis", "virus")]
        ['allergy', 'disease', 'kidney', 'fibrosis', 'virus']
    """
    if len(word) <= 3:
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    if word.endswith("es") and not word.endswith(("aes", "ees", "oes")):
        return word[:-1]
    if word.endswith("s") and not word.endswith(("us", "ss", "is")):
        return word[:-1]
    return word


def _words(text: str) -> list[str]:
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text)
        text = "".join(char for char in decomposed if not unicodedata.combining(char))
    return _WORD.findall(_CLITIC.sub("", text))


@lru_cache(maxsize=2**18)
def _term(word: str) -> str | None:
    lowered = word.lower()
    is_stop_word = word in _ONE_LETTER_STOP_WORDS if len(word) == 1 else lowered in _stop_words()
    return None if is_stop_word else singular(lowered)


@lru_cache(maxsize=1)
def _stop_words() -> frozenset[str]:
    from bm25s.stopwords import STOPWORDS_EN_PLUS

    return frozenset(STOPWORDS_EN_PLUS)
