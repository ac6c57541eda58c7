"""An inverted index of weighted words: the texts that share enough with a question to be compared with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Words in more than this fraction of the texts are kept as dense rows and looked up for the remaining candidates alone.
_COMMON_FRACTION = 0.1


@dataclass(frozen=True, slots=True)
class WeightedText:
    """The words of a text by number (-1: in no indexed text), with their weights and the sum of these."""

    words: list[int]
    weights: NDArray[np.float64]
    total: float


@dataclass(frozen=True, slots=True)
class Overlaps:
    """What a question shares with some of the texts; each array has one value a text.

    Attributes:
        indices: The indices of the texts.
        num_shared: How many words are shared.
        text_weight: The sum of their weights in the text.
        question_weight: The sum of their weights in the question.
    """

    indices: NDArray[np.int64]
    num_shared: NDArray[np.int64]
    text_weight: NDArray[np.float64]
    question_weight: NDArray[np.float64]


class Postings:
    """The texts by the words that they have; a word that a text has twice counts as two words.

    Args:
        texts: The texts.
        least: The fraction of the weight of a text, or of a question, that a candidate shares at least.
    """

    def __init__(self, texts: Sequence[WeightedText], least: float) -> None:
        from scipy.sparse import csr_array

        self._num_texts = len(texts)
        self._rows: dict[tuple[int, int], int] = {}
        rows, columns, weights = [], [], []
        for column, text in enumerate(texts):
            rows += [self._rows.setdefault(occurrence, len(self._rows)) for occurrence in _occurrences(text.words)]
            columns += [column] * len(text.words)
            weights += text.weights.tolist()
        table = csr_array((weights, (rows, columns)), shape=(len(self._rows), len(texts)))
        self._starts, self._columns, self._weights = table.indptr, table.indices.astype(np.int64), table.data
        common = np.flatnonzero(np.diff(table.indptr) > _COMMON_FRACTION * len(texts))
        self._common_row = np.full(len(self._rows), -1)
        self._common_row[common] = np.arange(len(common))
        self._common_weights = table[common].toarray()
        self._least = least
        # An upper bound that assumes a question with all the common words of every text; few texts pass even so.
        totals = np.array([text.total for text in texts])
        self._least_rare_weight = least * totals - self._common_weights.sum(axis=0)

    def overlaps(self, question: WeightedText) -> Overlaps | None:
        """Returns what the question shares with each text where that may be enough of the weight of either of them.

        None where it shares no word with any.
        """
        row_of_word = np.array([self._rows.get(occurrence, -1) for occurrence in _occurrences(question.words)])
        indexed = np.flatnonzero(row_of_word >= 0)
        if not len(indexed):
            return None
        rows, weights = row_of_word[indexed], question.weights[indexed]
        is_common = self._common_row[rows] >= 0
        num_shared, text_weight, question_weight = self._shared_rare(rows[~is_common], weights[~is_common])
        least_rare_weight = self._least * question.total - weights[is_common].sum()
        indices = np.flatnonzero((text_weight >= self._least_rare_weight) | (question_weight >= least_rare_weight))
        common = self._common_weights[self._common_row[rows[is_common]]][:, indices]
        has_common = common > 0
        return Overlaps(
            indices,
            num_shared[indices] + has_common.sum(axis=0),
            text_weight[indices] + common.sum(axis=0),
            question_weight[indices] + weights[is_common] @ has_common,
        )

    def _shared_rare(
        self, rows: NDArray[np.int64], weights: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]:
        """Returns for every text how many of the rows it has, their weight in it and their weight in the question."""
        if not len(rows):
            empty = np.zeros(self._num_texts)
            return empty.astype(np.int64), empty, empty
        spans = [slice(self._starts[row], self._starts[row + 1]) for row in rows]
        columns = np.concatenate([self._columns[span] for span in spans])
        there = np.concatenate([self._weights[span] for span in spans])
        here = np.repeat(weights, [span.stop - span.start for span in spans])
        size = self._num_texts
        return np.bincount(columns, minlength=size), np.bincount(columns, there, size), np.bincount(columns, here, size)


def _occurrences(words: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yields each word with the number of its occurrences before it."""
    seen: dict[int, int] = {}
    for word in words:
        count = seen.get(word, 0)
        yield word, count
        seen[word] = count + 1
