"""EVOL-RL: the majority decides the sign of a reward, the novelty of the text its size (arXiv 2509.15194)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medssr.answers.cleaned_text import plain_characters, without_thinking
from medssr.errors import require
from medssr.knowledge.retrieval.encoders import Pooling, TextEncoder, batches_by_length
from medssr.labeling.votes import majority_vote
from medssr.rewards.groups import GroupInput, GroupScore
from medssr.text.words import split_words

if TYPE_CHECKING:
    from medssr.engines.types import Completion

# The least and the greatest reward of the majority's answer, and of any other.
_MAJORITY_RANGE = (0.5, 1.0)
_OTHERS_RANGE = (-1.0, -0.5)
_INVALID_REWARD = -1.0
_SHORTEST = 1e-8
_BATCH_SIZE = 32


class NovelMajority:
    """Rewards the answer of the majority with 0.5 to 1 and any other with -1 to -0.5, more for what is new.

    The novelty of a completion is 1 - (mean + max) / 2: the mean of its similarities to the other completions that the
    majority decides alike, or to all others where there are none, and the largest of its similarities to any other. It
    is scaled to the range of rewards by its least and greatest value among the majority, and among the others. Similar
    are texts after the thinking: by the cosine of their vectors from an encoder, or of their counts of word n-grams. A
    completion without a valid answer earns -1, and a tie rewards nobody.

    Args:
        weight: Weight in the sum of rewards.
        num_trained: The first so many completions are trained and compared; the others only vote. None for all.
        encoder_path: Folder or hub name of an encoder of texts; None for counts of word n-grams.
        max_length: The most tokens of a text that the encoder reads.
        num_words: The number of words of an n-gram.

    Raises:
        InputError: When a number is out of range, or the encoder cannot be loaded.
    """

    decides_signal = True
    is_label_free = True

    def __init__(
        self, weight: float, num_trained: int | None, encoder_path: str | None, max_length: int, num_words: int
    ) -> None:
        problem = f"{num_trained}; an advantage compares completions, so at least 2, or null for all."
        is_number = isinstance(num_trained, int) and num_trained >= 2
        require(num_trained is None or is_number, "NovelMajority.num_trained", problem)
        require(isinstance(num_words, int) and num_words >= 1, "NovelMajority.num_words", f"{num_words}; at least 1.")
        self.weight = weight
        self._num_trained, self._num_words = num_trained, num_words
        self._encoder = None
        if encoder_path is not None:
            self._encoder = TextEncoder(encoder_path, max_length, "NovelMajority.encoder_path")

    def score_group(self, group: GroupInput) -> GroupScore:
        """Returns the rewards; the label is the answer of the majority of all completions."""
        letters = group.letters
        label = majority_vote(letters).label
        trained = letters[: self._num_trained]
        untrained = [None] * (len(letters) - len(trained))
        if label is None:
            return GroupScore([*[0.0] * len(trained), *untrained])
        valid = [index for index, letter in enumerate(trained) if letter is not None]
        rewards = [_INVALID_REWARD] * len(trained)
        if valid:
            similarities = self._similarities([_answer_text(group.completions[index]) for index in valid])
            in_majority = [trained[index] == label for index in valid]
            for index, reward in zip(valid, novelty_rewards(similarities, in_majority), strict=True):
                rewards[index] = reward
        return GroupScore([*rewards, *untrained], label=label)

    def _similarities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Returns the cosine similarity of each pair of texts, `[n, n]`, 0 to 1."""
        vectors = ngram_counts(texts, self._num_words) if self._encoder is None else _vectors(self._encoder, texts)
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _SHORTEST)
        similarities: NDArray[np.float64] = np.clip(unit @ unit.T, 0.0, 1.0)
        return similarities


def novelty_rewards(similarities: NDArray[np.float64], in_majority: Sequence[bool]) -> list[float]:
    """Returns the reward of each completion.

    Args:
        similarities: `[n, n]`, 0 to 1.
        in_majority: `[n]`, whether a completion has the answer of the majority.

    Example:
        >>> similarities = np.array([[1.0, 0.8, 0.2], [0.8, 1.0, 0.6], [0.2, 0.6, 1.0]])
        >>> novelties(similarities, [True, True, False])  # 1 - (0.8 + 0.8) / 2, the same, 1 - (0.4 + 0.6) / 2
        [0.2, 0.2, 0.5]
        >>> novelty_rewards(similarities, [True, True, False])
        [0.75, 0.75, -0.5]
    """
    values = novelties(similarities, in_majority)
    rewards = [0.0] * len(values)
    for side, bounds in ((True, _MAJORITY_RANGE), (False, _OTHERS_RANGE)):
        members = [index for index, flag in enumerate(in_majority) if flag is side]
        for index, reward in zip(members, _scaled([values[index] for index in members], *bounds), strict=True):
            rewards[index] = reward
    return rewards


def novelties(similarities: NDArray[np.float64], in_majority: Sequence[bool]) -> list[float]:
    """Returns the novelty of each completion, 1 - (mean + max) / 2, rounded to 12 digits; 0.5 for a single one.

    Args:
        similarities: `[n, n]`, 0 to 1.
        in_majority: `[n]`; the mean is over those on the same side, the largest similarity over all.
    """
    novelties = []
    for index, side in enumerate(in_majority):
        others = [other for other in range(len(in_majority)) if other != index]
        if not others:
            return [0.5]
        alike = [other for other in others if in_majority[other] is side] or others
        mean, largest = similarities[index, alike].mean(), similarities[index, others].max()
        # Rounded, so that sums in another order do not make a difference that is then scaled to the whole range.
        novelties.append(round(float(1 - (mean + largest) / 2), 12))
    return novelties


def _scaled(values: Sequence[float], least: float, greatest: float) -> list[float]:
    """Returns the values scaled to a range; its middle where all are equal, its end for a single one."""
    if len(values) < 2:
        return [greatest] * len(values)
    low, high = min(values), max(values)
    if low == high:
        return [(least + greatest) / 2] * len(values)
    return [least + (greatest - least) * (value - low) / (high - low) for value in values]


def ngram_counts(texts: Sequence[str], num_words: int) -> NDArray[np.float64]:
    """Returns how often each text has each n-gram of words, `[n, N]`; a shorter text is one n-gram.

    Example:
        >>> ngram_counts(["a rash", "A rash, a rash"], num_words=2)  # a rash, rash a
        array([[1., 0.],
               [2., 1.]])
    """
    counts = []
    for text in texts:
        words = split_words(text)
        starts = range(max(1, len(words) - num_words + 1))
        counts.append(Counter(tuple(words[start : start + num_words]) for start in starts))
    columns = {ngram: column for column, ngram in enumerate(dict.fromkeys(ngram for row in counts for ngram in row))}
    table = np.zeros((len(texts), len(columns)))
    for row, count in enumerate(counts):
        for ngram, number in count.items():
            table[row, columns[ngram]] = number
    return table


def _answer_text(completion: Completion) -> str:
    """Returns what a completion says after its thinking."""
    return without_thinking(plain_characters(completion.text)) or ""


def _vectors(encoder: TextEncoder, texts: Sequence[str]) -> NDArray[np.float64]:
    """Returns the vector of each text, `[n, D]`."""
    vectors = np.zeros((len(texts), encoder.dimension))
    for indices in batches_by_length(texts, _BATCH_SIZE):
        vectors[indices], _ = encoder.encode([texts[index] for index in indices], Pooling.mean)
    return vectors
