"""Lexical retrieval: the passages of a corpus that match a query best."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from medssr.errors import InputError
from medssr.knowledge.corpora import Passage

_TOKEN = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage with its score; scores of different retrievers or corpora are not comparable."""

    passage: Passage
    score: float


class Retriever(Protocol):
    """Finds passages by a query."""

    def index(self, passages: Iterable[Passage]) -> None:
        """Makes the passages searchable, in place of any that were.

        Raises:
            InputError: When there are no passages, or none has a word.
        """
        ...

    def search(self, query: str, top_k: int) -> list[Hit]:
        """Returns the best passages, best first, at most `top_k`; fewer where fewer match."""
        ...


class BM25Retriever:
    """BM25 (Lucene's variant) over title and text, with lower case and without diacritics.

    One-letter words count: "hepatitis B" and "type 2" differ from "hepatitis" and "type".

    Attributes:
        k1: How much a word's repetition within a passage counts.
        b: How much long passages are held back, from 0 (not at all) to 1.
    """

    def __init__(self, k1: float, b: float) -> None:
        self.k1 = k1
        self.b = b
        self._passages: list[Passage] = []
        self._model: Any = None

    def index(self, passages: Iterable[Passage]) -> None:
        """Makes the passages searchable, in place of any that were.

        Raises:
            InputError: When there are no passages, or none has a word.
        """
        import bm25s

        logging.getLogger("bm25s").setLevel(logging.WARNING)
        self._passages = []
        vocabulary: dict[str, int] = {}
        token_ids: list[list[int]] = []
        for passage in passages:
            self._passages.append(passage)
            tokens = tokenize(f"{passage.title} {passage.text}")
            token_ids.append([vocabulary.setdefault(token, len(vocabulary)) for token in tokens])
        if not vocabulary:
            raise InputError(
                f"The corpus has {len(self._passages)} passages and no word in them; choose another corpus."
            )
        self._model = bm25s.BM25(k1=self.k1, b=self.b, method="lucene")
        self._model.index((token_ids, vocabulary), show_progress=False)

    def search(self, query: str, top_k: int) -> list[Hit]:
        """Returns the passages that share a word with the query, best first, at most `top_k`.

        Passages with equal scores keep the order of the corpus.

        Raises:
            RuntimeError: When `index` was not called before.
        """
        import numpy as np

        if self._model is None:
            raise RuntimeError("index the passages before the first search")
        ids = self._model.get_tokens_ids(tokenize(query))
        if not ids or top_k < 1:
            return []
        scores = self._model.get_scores_from_ids(ids)
        places = np.flatnonzero(scores > 0)
        if len(places) > top_k:
            threshold = np.partition(scores[places], -top_k)[-top_k]
            places = places[scores[places] >= threshold]
        best = places[np.argsort(-scores[places], kind="stable")][:top_k]
        return [Hit(self._passages[place], float(scores[place])) for place in best]


def tokenize(text: str) -> list[str]:
    """Returns the words of the text, one-letter words too, in lower case and without diacritics.

    Example:
        >>> tokenize("Behçet disease, type 2")
        ['behcet', 'disease', 'type', '2']
    """
    decomposed = unicodedata.normalize("NFKD", text)
    return _TOKEN.findall("".join(char for char in decomposed if not unicodedata.combining(char)).lower())
