"""Re-ranking: a cross-encoder reads the query with each of the first passages of another retriever."""

from __future__ import annotations

from typing import Any

import numpy as np

from medssr.errors import InputError
from medssr.knowledge.retrieval.encoders import TextEncoder, batches_by_length
from medssr.knowledge.retrieval.passages import StoredPassages
from medssr.knowledge.retrieval.types import Ranking, Retriever, best_places


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
        places = self.retriever.rank(query, self.num_candidates).places
        pairs = [(query, _article(self.passages, int(place))) for place in places]
        scores = np.empty(len(places), dtype=np.float32)
        assert self._encoder is not None
        for batch in batches_by_length(pairs, self.batch_size):
            scores[batch], num_truncated = self._encoder.score([pairs[index] for index in batch])
            self._num_truncated_pairs += num_truncated
        self._num_pairs += len(pairs)
        best = best_places(scores, depth)
        return Ranking(places[best.places], best.scores)

    def report(self) -> dict[str, Any]:
        """Returns how many pairs were read and cut off, and the retriever's report."""
        return {
            "num_pairs": self._num_pairs,
            "num_truncated_pairs": self._num_truncated_pairs,
            "retriever": self.retriever.report(),
        }


def _article(passages: StoredPassages, place: int) -> str:
    passage = passages[place]
    return f"{passage.title}. {passage.text}"
