"""Intervals over seeds and questions at once: every seed answers every question, and both are drawn."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medssr.statistics.intervals import FloatArray, Interval, cluster_numbers

NUM_CROSSED_RESAMPLES = 2_000
_CHUNK = 500  # resamples at a time: memory is chunk x questions


def crossed_bootstrap_interval(
    scores: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    minus: ArrayLike | None = None,
    seed: int,
    num_resamples: int = NUM_CROSSED_RESAMPLES,
    confidence: float = 0.95,
) -> Interval:
    """Returns the bootstrap interval of a mean over seeds and questions, or of the difference of two such means.

    Seeds and clusters of questions are drawn with replacement and independently of each other, a score counting the
    product of how often its seed and its question were drawn: the pigeonhole bootstrap (Owen 2007, "The pigeonhole
    bootstrap", which shows that its variance is somewhat too large, not too small). Ends are quantiles. With one seed
    it says nothing about other seeds.

    Args:
        scores: `[S, Q]`, the score of each question with each seed.
        clusters: The cluster of each question (copies of a question); None when every question is its own.
        minus: `[T, Q]`, the scores that are taken off, of the same questions. Where T = S the seeds belong together
            pairwise and are drawn as pairs, else each side draws its own.
        seed: The same seed gives the same interval.
        num_resamples: How many means the quantiles are taken from.
        confidence: The share of intervals that hold the true mean.

    Raises:
        ValueError: When the arrays do not fit together.

    Example:
        One question that all seeds answer, one that none does: only the questions are uncertain.

        >>> interval = crossed_bootstrap_interval([[1.0, 0.0] * 50, [1.0, 0.0] * 50], seed=0)
        >>> round(interval.low, 1), round(interval.high, 1)
        (0.4, 0.6)
    """
    own = _matrix(scores)
    taken_off = None if minus is None else _matrix(minus)
    num_questions = own.shape[1]
    if taken_off is not None and taken_off.shape[1] != num_questions:
        raise ValueError(f"expected {num_questions} questions on both sides, found {taken_off.shape[1]}")
    members = cluster_numbers(range(num_questions) if clusters is None else clusters, num_questions)
    sizes = np.bincount(members).astype(np.float64)  # [C]
    own_sums = _cluster_sums(own, members)  # [S, C]
    off_sums = None if taken_off is None else _cluster_sums(taken_off, members)  # [T, C]
    generator = np.random.default_rng(seed)
    means: list[FloatArray] = []
    for start in range(0, num_resamples, _CHUNK):
        size = min(_CHUNK, num_resamples - start)
        drawn = _draws(generator, sizes.size, size)  # [R, C]
        of_seeds = _draws(generator, len(own), size)  # [R, S]
        gains = of_seeds @ own_sums / len(own)  # [R, C]
        if off_sums is not None:
            others = of_seeds if len(off_sums) == len(own) else _draws(generator, len(off_sums), size)
            gains = gains - others @ off_sums / len(off_sums)
        means.append((drawn * gains).sum(axis=1) / (drawn @ sizes))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return Interval(float(low), float(high))


def _draws(generator: np.random.Generator, num: int, size: int) -> FloatArray:
    """Returns how often each of `num` things is drawn in each of `size` samples of them: `[size, num]`."""
    return generator.multinomial(num, np.full(num, 1 / num), size=size).astype(np.float64)


def _cluster_sums(scores: FloatArray, members: NDArray[np.int64]) -> FloatArray:
    return np.stack([np.bincount(members, weights=row) for row in scores]).astype(np.float64)


def _matrix(values: ArrayLike) -> FloatArray:
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(f"expected scores by seed and question, found an array of shape {matrix.shape}")
    return matrix
