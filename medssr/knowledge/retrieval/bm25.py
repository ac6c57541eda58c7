"""BM25: passages that share words with the query, rare words first."""

from __future__ import annotations

import json
import logging
import re
from array import array
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from medssr.errors import InputError
from medssr.knowledge.corpora import Passage
from medssr.knowledge.retrieval.retriever import Ranking, Retriever, best_ranking
from medssr.knowledge.retrieval.stored_passages import (
    FIELDS,
    StoredPassages,
    cached_folder,
    check_fields,
    field_text,
    read_facts,
)
from medssr.text.words import drop_clitics, singular, strip_marks
from medssr.utils.progress import Progress


class BM25Retriever(Retriever):
    """BM25 (Lucene's variant) over some of the texts of each passage, taken together.

    A word of the query counts once, however often the query repeats it.

    Attributes:
        fields: Which texts: "title", "synonyms", "text".
        k1: How much a word's repetition within a passage counts.
        b: How much long passages are held back, from 0 (not at all) to 1.
        corrects_spelling: Whether a word of the query that no passage has stands for the one that it is most like.
    """

    def __init__(self, fields: list[str], k1: float, b: float, corrects_spelling: bool) -> None:
        if k1 < 0 or not 0 <= b <= 1:
            raise InputError(f"retriever: k1 {k1} and b {b}; expected k1 of at least 0 and b from 0 to 1.")
        self.fields = check_fields(fields, "retriever.fields")
        self.k1 = k1
        self.b = b
        self.corrects_spelling = corrects_spelling
        self._model: Any = None
        self._speller: Speller | None = None

    def index(self, passages: StoredPassages) -> None:
        """Makes the passages searchable, in place of any that were.

        Raises:
            InputError: When none of the passages has a word in these texts.
        """
        import bm25s

        logging.getLogger("bm25s").setLevel(logging.WARNING)
        settings = {
            "fields": self.fields,
            "k1": self.k1,
            "b": self.b,
            "words": _VERSION_OF_TERMS,
            "bm25s": bm25s.__version__,
        }
        folder = cached_folder(passages.directory, "bm25", settings, lambda empty: self._build(passages, empty))
        self._model = bm25s.BM25.load(folder, mmap=True)
        for name, values in self._model.scores.items():
            if isinstance(values, np.memmap):  # mapped all the same; a slice of a memmap takes ten times longer
                self._model.scores[name] = values.view(np.ndarray)
        self._speller = Speller(passages) if self.corrects_spelling else None
        self._passages = passages
        self._facts = read_facts(folder)

    def rank(self, query: str, depth: int) -> Ranking:
        """Returns the passages that share a word with the query, best first, at most `depth`."""
        assert len(self.passages) == self._model.scores["num_docs"]
        words = terms(query)
        if self._speller is not None:
            words = [self._speller.correct(word) for word in words]
        ids = self._model.get_tokens_ids(list(dict.fromkeys(words)))
        if not ids:
            return Ranking(np.empty(0, dtype=np.int64), np.empty(0))
        scores = self._model.get_scores_from_ids(ids)
        return best_ranking(scores, depth, np.flatnonzero(scores > 0))

    def report(self) -> dict[str, Any]:
        """Returns the number of distinct words, and the words of queries that were corrected."""
        corrections = {} if self._speller is None else {"corrections": self._speller.corrections}
        return self._facts | corrections

    def _build(self, passages: StoredPassages, folder: Path) -> dict[str, Any]:
        import bm25s

        vocabulary: dict[str, int] = {}
        term_ids = []
        with Progress("index for BM25", len(passages), "passages", is_minor=True) as progress:
            for passage in passages:  # four bytes a word, and not a Python list's eight
                numbers = (vocabulary.setdefault(term, len(vocabulary)) for term in self._terms(passage))
                term_ids.append(array("i", numbers))
                progress.advance()
        if not vocabulary:
            names = ", ".join(self.fields)
            problem = f"its {len(passages)} passages have no word in {names}"
            raise InputError(f"corpus: {problem}; choose another corpus or other retriever.fields.")
        facts = {"num_words": len(vocabulary)}
        model = bm25s.BM25(k1=self.k1, b=self.b, method="lucene")
        model.index((term_ids, vocabulary), show_progress=False)
        model.save(folder, show_progress=False)
        return facts

    def _terms(self, passage: Passage) -> list[str]:
        return [term for field in self.fields for term in terms(field_text(passage, field))]


# --- Words of a query that no passage has, as the words of passages that they are most like --------------------------

_FILE = "words.json"
# Letters of a word from which on it may differ by one and by two letters: short words are alike by chance.
_MIN_LETTERS = 5
_MIN_LETTERS_FOR_TWO = 8


class Speller:
    """Corrects words of a query that no passage has, by the words of all texts of the passages.

    Attributes:
        corrections: What was put for which word so far.
    """

    def __init__(self, passages: StoredPassages) -> None:
        settings = {"words": _VERSION_OF_TERMS}
        folder = cached_folder(passages.directory, "words", settings, lambda empty: _count_words(passages, empty))
        self.corrections: dict[str, str] = {}
        self._num_passages: dict[str, int] = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        self._by_first_letter: dict[str, list[str]] = {}
        for word in self._num_passages:
            self._by_first_letter.setdefault(word[0], []).append(word)
        self._known_answers: dict[str, str] = {}

    def correct(self, word: str) -> str:
        """Returns the word itself where a passage has it, else the most frequent of those that it is most like.

        Two words are alike when they start with the same letter and differ by one typing error (a letter that is
        missing, too much, wrong or swapped with its neighbour; Damerau 1964), or by two where the word has eight
        letters. A word of fewer than five letters, one with a digit, and one that is like no other stay as they are.
        """
        if word in self._num_passages or len(word) < _MIN_LETTERS or not word.isalpha():
            return word
        if word not in self._known_answers:
            self._known_answers[word] = self._most_similar(word)
        return self._known_answers[word]

    def _most_similar(self, word: str) -> str:
        from rapidfuzz.distance import OSA
        from rapidfuzz.process import extract

        candidates = self._by_first_letter.get(word[0], [])
        limit = 2 if len(word) >= _MIN_LETTERS_FOR_TWO else 1
        similar = extract(word, candidates, scorer=OSA.distance, score_cutoff=limit, limit=None)
        if not similar:
            return word
        best, _, _ = min(similar, key=lambda match: (match[1], -self._num_passages[match[0]], match[0]))
        self.corrections[word] = best
        return best


def _count_words(passages: StoredPassages, folder: Path) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    for passage in passages:
        counts.update({term for field in FIELDS for term in terms(field_text(passage, field))})
    (folder / _FILE).write_text(json.dumps(counts), encoding="utf-8")
    return {"num_words": len(counts)}


# --- From text to the words that count ------------------------------------------------------------------------------

# Counts up when `terms` changes, so that what was computed with other terms is computed anew.
_VERSION_OF_TERMS = 1

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
