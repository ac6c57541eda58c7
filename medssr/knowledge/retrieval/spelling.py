"""Words of a query that no passage has, as the words of passages that they are most like."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from medssr.knowledge.retrieval.cache import cached_folder
from medssr.knowledge.retrieval.passages import FIELDS, StoredPassages, field_text
from medssr.knowledge.retrieval.words import VERSION, terms

_FILE = "words.json"
# Letters of a word from which on it may differ by one and by two letters: short words are alike by chance.
_MIN_LETTERS = 5
_MIN_LETTERS_FOR_TWO = 8


class Speller:
    """The words of all texts of the passages.

    Attributes:
        corrections: What was put for which word so far.
    """

    def __init__(self, passages: StoredPassages) -> None:
        settings = {"words": VERSION}
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
        best, _, _ = min(similar, key=lambda found: (found[1], -self._num_passages[found[0]], found[0]))
        self.corrections[word] = best
        return best


def _count_words(passages: StoredPassages, folder: Path) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    for passage in passages:
        counts.update({term for field in FIELDS for term in terms(field_text(passage, field))})
    (folder / _FILE).write_text(json.dumps(counts), encoding="utf-8")
    return {"num_words": len(counts)}
