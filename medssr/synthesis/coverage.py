"""How much of a text another text repeats, also where it is reworded, cut or part of a longer one.

Two texts that agree but for case, punctuation and numbers match, however short they are. Else the score says how much
of the indexed text the other holds: its words in their order within one stretch of the other, each counted by how rare
it is among the texts, so that an examination's standing phrases ("which of the following is the most likely cause of
this patient's symptoms") count for little. A match rests on content words (`content_words`): texts that share standing
phrases alone do not match. `experiments/contamination` measures recall and false positives at each threshold.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from medssr.synthesis.content_words import is_content_word
from medssr.synthesis.postings import Postings, WeightedText
from medssr.text.words import EXAM_WORDS, FUNCTION_WORDS, fold, mask_numbers, split_words

# Background counts, because a small index says little on how common words are: as if so many more stems were indexed,
# half of them with any one function word and a fifth with any one word of examinations.
_NUM_BACKGROUND_STEMS = 300
_BACKGROUND_COUNTS = dict.fromkeys(EXAM_WORDS, _NUM_BACKGROUND_STEMS // 5) | dict.fromkeys(
    FUNCTION_WORDS, _NUM_BACKGROUND_STEMS // 2
)
# How often a word must be seen until what follows it counts more than how common the follower is everywhere.
_PAIR_PRIOR = 5.0
# A word's weight is its surprise to this power. At 0 every word counts the same, and another disease in a common
# template is a copy; at 1 rare words decide alone, and a copy with its rare words replaced is none.
_SURPRISE_POWER = 0.5
_NUM_CACHED_WEIGHTS = 2**16
# A word is rare when less than one stem in a hundred has it in this position.
_RARE = math.log(1 + 100) ** _SURPRISE_POWER
# The least fraction of the content words that is covered, however much of the standing phrases is.
_MIN_CONTENT = 1 / 4
# The discount for a question of at least twice the length of the stem.
_MAX_LOSS = 0.3
# The least size of a stem that may match within a longer question: smaller ones occur there by chance.
_MIN_EMBEDDED_WORDS = 4
_MIN_EMBEDDED_RARE_WORDS = 1
# A question that is a part of a longer stem; 13 words are the usual length of n-grams in decontamination.
_MIN_PART_WORDS = 13
_MIN_PART_RARE_WORDS = 3


@dataclass(frozen=True, slots=True)
class Text(WeightedText):
    """The words of a text with their weights; `is_content` says which of them say what it is about."""

    is_content: NDArray[np.bool_]


class CoverageIndex:
    """Finds the text that another text repeats.

    Args:
        texts: The texts. Those without a word are passed over; of equal ones, the first counts.
        threshold: The least score of a match.
    """

    def __init__(self, texts: Sequence[str], threshold: float) -> None:
        self._threshold = threshold
        # The indices of the different texts, and of each its number among these by its key.
        self._indices: list[int] = []
        self._number_of_key: dict[str, int] = {}
        for index, text in enumerate(texts):
            key = _key(_masked_words(text))
            if key and key not in self._number_of_key:
                self._number_of_key[key] = len(self._indices)
                self._indices.append(index)
        different = [texts[index] for index in self._indices]
        self._joined = _joined_words(different)
        worded = [self._parted(_masked_words(text)) for text in different]
        self._counts = Counter(word for words in worded for word in set(words))
        self._pair_counts = Counter(pair for words in worded for pair in set(_pairs(words)))
        self._cached_weight = lru_cache(maxsize=_NUM_CACHED_WEIGHTS)(self._weight)
        self._ids = {word: number for number, word in enumerate(self._counts)}
        self._texts = [self._text(words) for words in worded]
        self._totals = np.array([text.total for text in self._texts])
        self._sizes = np.array([len(text.words) for text in self._texts])
        self._postings = Postings(self._texts, threshold)

    def __len__(self) -> int:
        """Returns the number of different texts."""
        return len(self._indices)

    def check(self, text: str) -> tuple[int, float] | None:
        """Returns the index of the text that is repeated most, with its score, or None where none is repeated."""
        words = _masked_words(text)
        number = self._number_of_key.get(_key(words))
        if number is not None:
            return self._indices[number], 1.0
        question = self._text(self._parted(words))
        best, best_score = None, self._threshold
        for candidate, bound in self._candidates(question):
            if bound < best_score:
                break
            score = _score(self._texts[candidate], question)
            if score >= best_score and (best is None or score > best_score):
                best, best_score = candidate, score
        return None if best is None else (self._indices[best], best_score)

    def _candidates(self, question: Text) -> Iterator[tuple[int, float]]:
        """Yields (number of a stem, upper bound of its score) for each stem that may match, the highest bound first."""
        overlaps = self._postings.overlaps(question)
        if overlaps is None:
            return
        indices, num_shared = overlaps.indices, overlaps.num_shared
        sizes, size = self._sizes[indices], len(question.words)
        fractions = np.minimum(num_shared / sizes, overlaps.text_weight / self._totals[indices])
        bounds = _discounted(fractions, size - num_shared, sizes)
        if size >= _MIN_PART_WORDS:
            fractions = np.minimum(num_shared / size, overlaps.question_weight / question.total)
            part_bounds = _discounted(fractions, sizes - num_shared, size)
            bounds = np.where(sizes > size, np.maximum(bounds, part_bounds), bounds)
        passing = np.flatnonzero(bounds >= self._threshold)
        for index in passing[np.argsort(-bounds[passing], kind="stable")]:
            yield int(indices[index]), float(bounds[index])

    def _parted(self, words: Sequence[str]) -> list[str]:
        """Returns the words, split where the stems have them split: "45yearold" as "0", "year", "old"."""
        if self._joined.keys().isdisjoint(words):
            return list(words)
        return [part for word in words for part in self._joined.get(word, (word,))]

    def _text(self, words: Sequence[str]) -> Text:
        weights = np.array([self._cached_weight(*pair) for pair in _pairs(words)])
        is_content = np.array([is_content_word(word) for word in words], dtype=bool)
        return Text([self._ids.get(word, -1) for word in words], weights, float(weights.sum()), is_content)

    def _weight(self, previous: str, word: str) -> float:
        """Returns the surprise of a word after the previous one, by the counts of the stems less the one at hand.

        A word that follows in many stems, as in a template, surprises little. Where the previous word is rare, the
        fraction of stems with the word decides (additive smoothing towards that fraction).
        """
        num_stems = len(self._indices) + _NUM_BACKGROUND_STEMS
        fraction = max(1, self._counts[word] - 1 + _BACKGROUND_COUNTS.get(word, 0)) / num_stems
        num_previous = self._counts[previous] if previous else len(self._indices)
        num_pairs = self._pair_counts[previous, word]
        probability = (max(0, num_pairs - 1) + _PAIR_PRIOR * fraction) / (max(0, num_previous - 1) + _PAIR_PRIOR)
        surprise: float = math.log(1 + 1 / probability) ** _SURPRISE_POWER
        return surprise


def _score(stem: Text, question: Text) -> float:
    """Returns the coverage of the stem by the question or, for a question that is part of a stem, the reverse."""
    return max(_whole_score(stem, question), _part_score(stem, question))


def _whole_score(stem: Text, question: Text) -> float:
    score, num_rare = _coverage(stem, question)
    if len(question.words) > 2 * len(stem.words) and (
        len(stem.words) < _MIN_EMBEDDED_WORDS or num_rare < _MIN_EMBEDDED_RARE_WORDS
    ):
        return 0.0
    return score


def _part_score(stem: Text, question: Text) -> float:
    if not _MIN_PART_WORDS <= len(question.words) < len(stem.words):
        return 0.0
    score, num_rare = _coverage(question, stem)
    return score if num_rare >= _MIN_PART_RARE_WORDS else 0.0


def _coverage(part: Text, whole: Text) -> tuple[float, int]:
    """Returns the coverage of `part` by `whole`, discounted for further words, and the number of rare words covered.

    It is 0 where less than a quarter of the content words are covered.

    The words that count are the longest common subsequence of `part` and of the stretch of `whole` that holds most
    of it. The coverage is the smaller of their fractions by number and by weight: common words alone make no copy, nor
    does the name of a disease.
    """
    from rapidfuzz.distance import LCSseq

    stretch = _best_stretch(part, whole)
    missing = [edit.src_pos for edit in LCSseq.editops(part.words, stretch) if edit.tag == "delete"]
    size = len(part.words)
    covered = np.delete(part.weights, missing)
    num_content = int(np.delete(part.is_content, missing).sum())
    if num_content < max(1, _MIN_CONTENT * int(part.is_content.sum())):
        return 0.0, 0
    fraction = min(1 - len(missing) / size, float(covered.sum()) / part.total)
    score = float(_discounted(fraction, len(whole.words) - len(covered), size))
    return score, int((covered >= _RARE).sum())


def _discounted(
    fraction: float | NDArray[np.float64], num_extra: int | NDArray[np.int64], size: int | NDArray[np.int64]
) -> NDArray[np.float64]:
    """Returns a fraction of `size` words less the discount for the further words."""
    discounted: NDArray[np.float64] = fraction / (1 + _MAX_LOSS * np.minimum(1.0, num_extra / size))
    return discounted


def _best_stretch(part: Text, whole: Text) -> list[int]:
    """Returns the stretch of `whole` that holds most of the weight of `part`, a quarter longer than `part`."""
    length = len(part.words) + max(2, len(part.words) // 4)
    if len(whole.words) <= length:
        return whole.words
    wanted = set(part.words)
    is_wanted = np.array([word in wanted for word in whole.words])
    sums = np.concatenate([[0.0], np.cumsum(whole.weights * is_wanted)])
    start = int(np.argmax(sums[length:] - sums[:-length]))
    return whole.words[start : start + length]


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields each word with the one before it, the first with an empty one."""
    return zip(("", *words), words, strict=False)


def _masked_words(stem: str) -> list[str]:
    return split_words(mask_numbers(stem))


def _key(masked_words: Sequence[str]) -> str:
    """Returns the letters of a text's words, and 0 for each number."""
    return mask_numbers("".join(masked_words))


def _joined_words(stems: Iterable[str]) -> dict[str, list[str]]:
    """Returns the parts of each word that a text shows in one piece once its punctuation is deleted: "45yearold"."""
    parts: dict[str, list[str]] = {}
    for chunk in {chunk for stem in stems for chunk in fold(mask_numbers(stem)).split()}:
        words = split_words(chunk)
        if len(words) > 1:
            parts["".join(words)] = words
    return parts
