"""Dense retrieval: passages whose vector is near the query's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medssr.artifacts import fingerprint_parts
from medssr.errors import InputError
from medssr.knowledge.corpora import Passage
from medssr.knowledge.retrieval.encoders import Pooling, Text, TextEncoder, batches_by_length
from medssr.knowledge.retrieval.retriever import Ranking, Retriever, best_ranking
from medssr.knowledge.retrieval.stored_passages import (
    StoredPassages,
    cached_folder,
    check_fields,
    field_text,
    read_facts,
)
from medssr.utils.progress import Progress

_VECTORS = "vectors.npy"
# Passages that are sorted by length together, in batches.
_BATCHES_AT_ONCE = 64


class DenseRetriever(Retriever):
    """Ranks passages by the inner product of their vector with the query's.

    Attributes:
        query_encoder_path: A folder with a Hugging Face encoder, or its name on a hub.
        article_encoder_path: The same for passages.
        fields: Which texts of a passage: one, or two that the encoder sees as a pair.
        pooling: "cls" or "mean".
        is_cosine: Whether vectors are brought to length one.
        query_max_length: The most tokens of a query.
        article_max_length: The most tokens of a passage.
        batch_size: Passages that are encoded at a time.
    """

    loads_model: ClassVar[bool] = True

    def __init__(
        self,
        query_encoder_path: str,
        article_encoder_path: str | None,
        fields: list[str],
        pooling: str,
        is_cosine: bool,
        query_max_length: int,
        article_max_length: int,
        batch_size: int,
    ) -> None:
        if len(fields) > 2:
            raise InputError(f"retriever.fields: found {fields}; an encoder sees one text or a pair.")
        if pooling not in Pooling.__members__:
            raise InputError(f'retriever.pooling: found "{pooling}"; expected {" or ".join(Pooling.__members__)}.')
        self.query_encoder_path = query_encoder_path
        self.article_encoder_path = article_encoder_path or query_encoder_path
        self.fields = check_fields(fields, "retriever.fields")
        self.pooling = Pooling[pooling]
        self.is_cosine = is_cosine
        self.query_max_length = query_max_length
        self.article_max_length = article_max_length
        self.batch_size = batch_size
        self._query_encoder: TextEncoder | None = None
        self._num_queries = 0
        self._num_truncated_queries = 0

    def index(self, passages: StoredPassages) -> None:
        """Makes the passages searchable, in place of any that were.

        Raises:
            InputError: When an encoder cannot be loaded, or the two make vectors of different lengths.
        """
        # An encoder in a folder counts by its content, one on a hub by its name.
        decisive, inputs = fingerprint_parts(
            {
                "article_encoder_path": self.article_encoder_path,
                "fields": self.fields,
                "pooling": self.pooling,
                "is_cosine": self.is_cosine,
                "article_max_length": self.article_max_length,
            }
        )
        settings = decisive | {"inputs": inputs}
        folder = cached_folder(passages.directory, "dense", settings, lambda empty: self._build(passages, empty))
        self._vectors = np.load(folder / _VECTORS, mmap_mode="r", allow_pickle=False)  # [n, D]
        self._facts = read_facts(folder)
        if self._query_encoder is None:
            self._query_encoder = TextEncoder(
                self.query_encoder_path, self.query_max_length, "retriever.query_encoder_path"
            )
        if self._query_encoder.dimension != self._vectors.shape[1]:
            raise InputError(
                f"retriever: {self.query_encoder_path} makes vectors of {self._query_encoder.dimension} numbers and "
                f"{self.article_encoder_path} of {self._vectors.shape[1]}; give two encoders that belong together."
            )
        self._passages = passages

    def rank(self, query: str, depth: int) -> Ranking:
        """Returns the passages with the highest inner products, best first, at most `depth`."""
        assert len(self.passages) == len(self._vectors)
        assert self._query_encoder is not None
        vectors, num_truncated = self._query_encoder.encode([query], self.pooling)
        self._num_queries += 1
        self._num_truncated_queries += num_truncated
        return best_ranking(self._vectors @ self._scaled(vectors)[0], depth)

    def report(self) -> dict[str, Any]:
        """Returns how many passages and queries were cut off, of how many."""
        return self._facts | {"num_queries": self._num_queries, "num_truncated_queries": self._num_truncated_queries}

    def _build(self, passages: StoredPassages, folder: Path) -> dict[str, Any]:
        encoder = TextEncoder(self.article_encoder_path, self.article_max_length, "retriever.article_encoder_path")
        shape = (len(passages), encoder.dimension)
        vectors = np.lib.format.open_memmap(folder / _VECTORS, mode="w+", dtype=np.float32, shape=shape)
        start = num_truncated = 0
        with Progress("encode", len(passages), "passages", is_minor=True) as progress:
            for texts in _chunks(map(self._text, passages), self.batch_size * _BATCHES_AT_ONCE):
                for batch in batches_by_length(texts, self.batch_size):
                    encoded, num_cut = encoder.encode([texts[index] for index in batch], self.pooling)
                    vectors[start + np.array(batch)] = self._scaled(encoded)
                    num_truncated += num_cut
                    progress.advance(len(batch))
                start += len(texts)
        vectors.flush()
        return {"num_passages": start, "num_truncated_passages": num_truncated}

    def _text(self, passage: Passage) -> Text:
        texts = [field_text(passage, field) for field in self.fields]
        return texts[0] if len(texts) == 1 else (texts[0], texts[1])

    def _scaled(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        if not self.is_cosine:
            return vectors
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        scaled: NDArray[np.float32] = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
        return scaled


def _chunks(texts: Iterable[Text], size: int) -> Iterator[list[Text]]:
    iterator = iter(texts)
    while chunk := list(islice(iterator, size)):
        yield chunk
