"""Retrievers made of others: fused by the ranks that they give, or re-ranked by a cross-encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from medssr.errors import InputError
from medssr.knowledge.retrieval.encoders import TextEncoder, batches_by_length
from medssr.knowledge.retrieval.retriever import Ranking, Retriever, best_ranking
from medssr.knowledge.retrieval.stored_passages import StoredPassages


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
    """Returns the passages by the sum of 1 / (k + rank) over the rankings that have them, ranks from 1.

    Cormack, Clarke and Buettcher 2009, "Reciprocal rank fusion outperforms Condorcet and individual rank learning
    methods", SIGIR. Equal sums keep the order of the places.

    Args:
        rankings: Of the same passages by different retrievers.
        k: Added to each rank.
        depth: The most passages that are returned.

    Example:
        Passage 7 is first and second, 1 / 61 + 1 / 62; passage 9 is first once, passage 5 is second once.

        >>> first = Ranking(np.array([7, 5]), np.array([3.0, 1.0]))
        >>> second = Ranking(np.array([9, 7]), np.array([0.2, 0.1]))
        >>> fused = reciprocal_rank_fusion([first, second], k=60, depth=10)
        >>> fused.indices.tolist(), fused.scores.round(4).tolist()
        ([7, 9, 5], [0.0325, 0.0164, 0.0161])
    """
    indices = np.concatenate([ranking.indices for ranking in rankings])
    parts = np.concatenate([1 / (k + np.arange(1, len(ranking.indices) + 1)) for ranking in rankings])
    unique, position_of_part = np.unique(indices, return_inverse=True)
    sums = np.zeros(len(unique))
    np.add.at(sums, position_of_part, parts)
    best = best_ranking(sums, depth)
    return Ranking(unique[best.indices], best.scores)


class RerankRetriever(Retriever):
    """The first passages of a retriever, in the order of a cross-encoder's scores.

    Attributes:
        retriever: Who finds the candidates.
        cross_encoder_path: A folder with a Hugging Face sequence classifier, or its name on a hub; it reads
            (query, "title. text").
        num_candidates: How many of the retriever's first passages are read; the others are no hits.
        max_length: The most tokens of query and passage together.
        batch_size: Passages that are read at a time.
    """

    loads_model: ClassVar[bool] = True

    def __init__(
        self, retriever: Retriever, cross_encoder_path: str, num_candidates: int, max_length: int, batch_size: int
    ) -> None:
        if num_candidates < 1:
            raise InputError(f"retriever.num_candidates: {num_candidates}; at least 1.")
        self.retriever = retriever
        self.cross_encoder_path = cross_encoder_path
        self.num_candidates = num_candidates
        self.max_length = max_length
        self.batch_size = batch_size
        self._encoder: TextEncoder | None = None
        self._num_pairs = 0
        self._num_truncated_pairs = 0

    def index(self, passages: StoredPassages) -> None:
        """Makes the passages searchable by the retriever.

        Raises:
            InputError: When the cross-encoder cannot be loaded.
        """
        self.retriever.index(passages)
        if self._encoder is None:
            self._encoder = TextEncoder(
                self.cross_encoder_path,
                self.max_length,
                "retriever.cross_encoder_path",
                kind="AutoModelForSequenceClassification",
            )
        self._passages = passages

    def rank(self, query: str, depth: int) -> Ranking:
        """Returns the candidates by their scores, best first, at most `depth`."""
        indices = self.retriever.rank(query, self.num_candidates).indices
        pairs = [(query, _article(self.passages, int(index))) for index in indices]
        scores = np.empty(len(indices), dtype=np.float32)
        assert self._encoder is not None
        for batch in batches_by_length(pairs, self.batch_size):
            scores[batch], num_truncated = self._encoder.score([pairs[index] for index in batch])
            self._num_truncated_pairs += num_truncated
        self._num_pairs += len(pairs)
        best = best_ranking(scores, depth)
        return Ranking(indices[best.indices], best.scores)

    def report(self) -> dict[str, Any]:
        """Returns how many pairs were read and cut off, and the retriever's report."""
        return {
            "num_pairs": self._num_pairs,
            "num_truncated_pairs": self._num_truncated_pairs,
            "retriever": self.retriever.report(),
        }


def _article(passages: StoredPassages, index: int) -> str:
    passage = passages[index]
    return f"{passage.title}. {passage.text}"
