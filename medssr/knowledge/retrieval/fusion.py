"""Several retrievers as one, by the ranks that they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medssr.errors import InputError
from medssr.knowledge.retrieval.passages import StoredPassages
from medssr.knowledge.retrieval.types import Ranking, Retriever, best_places


class FusionRetriever(Retriever):
    """Reciprocal-rank fusion of any retrievers.

    Attributes:
        retrievers: What is fused, by a name for each.
        k: How little the first ranks stand out; 60 in the source of the method.
        depth: How many of the best passages of each retriever take part; the others add nothing.
    """

    def __init__(self, retrievers: Mapping[str, Retriever], k: float, depth: int) -> None:
        if not retrievers or k < 0 or depth < 1:
            raise InputError(
                f"retriever: {len(retrievers)} retrievers, k {k}, depth {depth}; expected at least one retriever, k of "
                "at least 0 and depth of at least 1."
            )
        self.retrievers = dict(retrievers)
        self.k = k
        self.depth = depth

    def index(self, passages: StoredPassages) -> None:
        """Makes the passages searchable by each of the retrievers."""
        for retriever in self.retrievers.values():
            retriever.index(passages)
        self._passages = passages

    def rank(self, query: str, depth: int) -> Ranking:
        """Returns the passages that any of the retrievers ranks, best first, at most `depth`."""
        rankings = [retriever.rank(query, self.depth) for retriever in self.retrievers.values()]
        return reciprocal_rank_fusion(rankings, self.k, depth)

    def report(self) -> dict[str, Any]:
        """Returns the report of each retriever by its name."""
        return {name: retriever.report() for name, retriever in self.retrievers.items()}


def reciprocal_rank_fusion(rankings: Sequence[Ranking], k: float, depth: int) -> Ranking:
    """Returns the places by the sum of 1 / (k + rank) over the rankings that have them, ranks from 1.

    Cormack, Clarke and Buettcher 2009, "Reciprocal rank fusion outperforms Condorcet and individual rank learning
    methods", SIGIR. Equal sums keep the order of the places.

    Args:
        rankings: Of the same passages by different retrievers.
        k: Added to each rank.
        depth: The most places that are returned.

    Example:
        Place 7 is first and second, 1 / 61 + 1 / 62; place 5 is second and not there, 1 / 62; place 9 is first once.

        >>> first = Ranking(np.array([7, 5]), np.array([3.0, 1.0]))
        >>> second = Ranking(np.array([9, 7]), np.array([0.2, 0.1]))
        >>> fused = reciprocal_rank_fusion([first, second], k=60, depth=10)
        >>> fused.places.tolist(), fused.scores.round(4).tolist()
        ([7, 9, 5], [0.0325, 0.0164, 0.0161])
    """
    places = np.concatenate([ranking.places for ranking in rankings])
    parts = np.concatenate([1 / (k + np.arange(1, len(ranking.places) + 1)) for ranking in rankings])
    found, place_of_part = np.unique(places, return_inverse=True)
    sums = np.zeros(len(found))
    np.add.at(sums, place_of_part, parts)
    best = best_places(sums, depth)
    return Ranking(found[best.places], best.scores)
