"""The base class of all retrievers, and the rankings and hits that they return."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medssr.knowledge.corpora import Passage
from medssr.knowledge.retrieval.stored_passages import StoredPassages


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage with its score; scores of different retrievers or corpora are not comparable."""

    passage: Passage
    score: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best passages for a query, best first, by their indices in the corpus.

    Attributes:
        indices: `[n]`, int64.
        scores: `[n]`, float64, never rising.
    """

    indices: NDArray[np.int64]
    scores: NDArray[np.float64]


class Retriever(ABC):
    """Finds passages by a query.

    A retriever says in `rank` which passages are best, by their indices, so that fusing a thousand of them reads none
    from disk; `search` reads those that are asked for.

    Attributes:
        loads_model: Whether it loads a model with torch: threads, seeds and the settings of torch are then set before
            it is made, and put back after the step.
    """

    loads_model: ClassVar[bool] = False

    _passages: StoredPassages | None = None

    @property
    def passages(self) -> StoredPassages:
        """The passages that are searched.

        Raises:
            RuntimeError: When `index` was not called before.
        """
        if self._passages is None:
            raise RuntimeError("index the passages before the first search")
        return self._passages

    @abstractmethod
    def index(self, passages: StoredPassages) -> None:
        """Makes the passages searchable, in place of any that were.

        What is computed for that is kept in the passages' folder, so that it is computed once for the same passages
        and settings.

        Raises:
            InputError: When the passages cannot be searched with these settings.
        """

    @abstractmethod
    def rank(self, query: str, depth: int) -> Ranking:
        """Returns the best passages, at most `depth`, fewer where fewer match; equal scores keep the corpus's order."""

    def search(self, query: str, top_k: int) -> list[Hit]:
        """Returns the best passages, best first, at most `top_k`; fewer where fewer match."""
        ranking = self.rank(query, top_k)
        return [
            Hit(self.passages[int(index)], float(score))
            for index, score in zip(ranking.indices, ranking.scores, strict=True)
        ]

    def report(self) -> dict[str, Any]:
        """Returns what there is to know about the index and the queries so far, such as how much was cut off."""
        return {}


def best_ranking(scores: NDArray[np.floating[Any]], depth: int, candidates: NDArray[np.int64] | None = None) -> Ranking:
    """Returns the indices with the highest scores, best first, at most `depth`; equal scores keep their order.

    Args:
        scores: `[n]`, one for each index.
        depth: The most indices that are returned.
        candidates: The indices to choose from, ascending; None for all.

    Example:
        >>> best_ranking(np.array([1.0, 3.0, 2.0, 3.0]), depth=3).indices.tolist()
        [1, 3, 2]
    """
    indices = np.arange(len(scores)) if candidates is None else candidates
    if depth < 1:
        indices = indices[:0]
    elif len(indices) > depth:
        threshold = np.partition(scores[indices], -depth)[-depth]
        indices = indices[scores[indices] >= threshold]
    indices = indices[np.argsort(-scores[indices], kind="stable")][:depth].astype(np.int64)
    return Ranking(indices, scores[indices].astype(np.float64))
