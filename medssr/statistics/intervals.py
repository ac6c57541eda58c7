"""Intervals of a mean over questions: Wilson's for proportions, the clustered bootstrap, and one over seeds too."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

NUM_RESAMPLES = 10_000

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_NORMAL = NormalDist()
_SAME = 1e-9  # two means closer than this are one value: sums of thirds differ in their last bits


@dataclass(frozen=True, slots=True)
class Interval:
    """The two ends of a confidence interval."""

    low: float
    high: float


def wilson_interval(successes: float, n: float, confidence: float = 0.95) -> Interval:
    """Returns the score interval of a proportion, which keeps its coverage at small n and near 0 and 1.

    With p = successes / n and z the normal quantile of (1 + confidence) / 2 (Wilson 1927, "Probable inference, the
    law of succession, and statistical inference"):

        (p + z^2 / 2n  -+  z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    The same as scipy.stats.binomtest(...).proportion_ci(method="wilson"), which takes whole counts only and is some
    hundred times slower; a test compares the two.

    Args:
        successes: How many of n; a fraction where questions have unequal weights.
        n: How many there are, or the effective number of a weighted sample.
        confidence: The fraction of intervals that hold the true proportion.

    Raises:
        ValueError: When n is not positive, successes lie outside 0 ... n or confidence outside (0, 1).

    Example:
        Eight of ten, z = 1.96, z^2 = 3.8415: centre (0.8 + 0.1921) / 1.3841 = 0.7167, half width
        1.96 sqrt(0.016 + 0.0096) / 1.3841 = 0.2266.

        >>> interval = wilson_interval(8, 10)
        >>> round(interval.low, 4), round(interval.high, 4)
        (0.4902, 0.9433)
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n and n > 0, found {successes} of {n}")
    z = _NORMAL.inv_cdf((1 + _checked(confidence)) / 2)
    p = successes / n
    scale = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / scale
    half_width = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / scale
    low = 0.0 if successes == 0 else centre - half_width
    high = 1.0 if successes == n else centre + half_width
    return Interval(low, high)


def clustered_bootstrap_interval(
    per_question_scores: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    weights: ArrayLike | None = None,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = 0.95,
) -> Interval:
    """Returns the BCa bootstrap interval of the mean score of the questions.

    The score of a question is the mean over its samples. Samples of one question depend on each other, so whole
    questions are drawn with replacement, never single samples; with `clusters`, whole clusters of questions (for
    example the copies of one question) are (Davison and Hinkley 1997, section 3.8). The ends are quantiles of the
    resampled means, corrected for the bias and the skewness of their distribution (Efron 1987, "Better bootstrap
    confidence intervals", sections 3 and 4; the acceleration is the jackknife's over clusters). Plain quantiles are
    too short towards the middle: at an accuracy of 0.9 they lie wholly above the truth in 4% of benchmarks of 300
    questions, these in 2.5%. The interval has no width when all scores are equal.

    scipy.stats.bootstrap has BCa as well, but neither clusters of unequal size nor weights; without them a test
    compares the two.

    Args:
        per_question_scores: One score for each question.
        clusters: The cluster of each question; None when every question is its own.
        weights: The weight of each question in the mean; None when all are equal.
        seed: The same seed gives the same interval, whatever the order of the questions.
        num_resamples: How many means the quantiles are taken from.
        confidence: The fraction of intervals that hold the true mean.

    Raises:
        ValueError: When there is no score, one is not finite, or `clusters` or `weights` has another length.

    Example:
        Scores 0 and 1, a hundred each: the standard error is 0.5 / sqrt(200) = 0.035, so the interval is about
        0.5 -+ 1.96 * 0.035.

        >>> interval = clustered_bootstrap_interval([0.0, 1.0] * 100, seed=0)
        >>> round(interval.low, 2), round(interval.high, 2)
        (0.43, 0.57)
    """
    scores = as_scores(per_question_scores)
    weight_of = np.ones_like(scores) if weights is None else as_scores(weights)  # [Q]
    if weight_of.shape != scores.shape:
        raise ValueError(f"expected one weight for each of {scores.size} scores, found {weight_of.size}")
    sums, sizes = _cluster_totals(scores, weight_of, clusters)  # [C], [C]
    # Clusters with the same sum and size are interchangeable, so a resample only draws how often each kind occurs.
    kinds, counts = np.unique(np.stack([sums, sizes], axis=1), axis=0, return_counts=True)  # [K, 2], [K]
    mean = float(sums.sum() / sizes.sum())
    if len(kinds) == 1:
        return Interval(mean, mean)
    num_clusters = int(counts.sum())
    draws = np.random.default_rng(seed).multinomial(num_clusters, counts / num_clusters, size=num_resamples)  # [R, K]
    totals = draws @ kinds  # [R, 2]
    means: FloatArray = totals[:, 0] / totals[:, 1]
    return _bca_interval(means, mean, _acceleration(kinds, counts), confidence)


def _acceleration(kinds: FloatArray, counts: IntArray) -> float:
    """Returns Efron's acceleration of the mean, a sixth of the skewness of its jackknife values.

    Args:
        kinds: `[K, 2]`, the sum of the scores and the size of each kind of cluster.
        counts: `[K]`, clusters of each kind.
    """
    totals = counts @ kinds
    left_out = (totals[0] - kinds[:, 0]) / (totals[1] - kinds[:, 1])  # [K], the mean without one cluster of the kind
    deviations = counts @ left_out / counts.sum() - left_out
    spread = float(counts @ deviations**2)
    return float(counts @ deviations**3) / (6 * spread**1.5) if spread > 0 else 0.0


def _bca_interval(means: FloatArray, mean: float, acceleration: float, confidence: float) -> Interval:
    """Returns the quantiles of the resampled means at the levels of BCa (Efron 1987, equation 3.9)."""
    num_below, num_up_to = np.count_nonzero(means < mean - _SAME), np.count_nonzero(means <= mean + _SAME)
    fraction_below = (num_below + num_up_to) / (2 * means.size)
    smallest = 1 / (2 * means.size)
    bias = _NORMAL.inv_cdf(min(max(fraction_below, smallest), 1 - smallest))
    tail = (1 - _checked(confidence)) / 2
    levels = []
    for level in (tail, 1 - tail):
        shifted = bias + _NORMAL.inv_cdf(level)
        stretch = max(1 - acceleration * shifted, 0.1)  # smaller only where a handful of clusters is skewed wildly
        levels.append(_NORMAL.cdf(bias + shifted / stretch))
    low, high = np.quantile(means, levels)
    return Interval(float(low), float(high))


def _cluster_totals(
    scores: FloatArray, weights: FloatArray, clusters: Sequence[Hashable] | None
) -> tuple[FloatArray, FloatArray]:
    """Returns the weighted sum of the scores of each cluster and its weight."""
    if clusters is None:
        return scores * weights, weights
    member_of = cluster_numbers(clusters, scores.size)
    sums: FloatArray = np.bincount(member_of, weights=scores * weights).astype(np.float64)
    return sums, np.bincount(member_of, weights=weights).astype(np.float64)


def cluster_numbers(clusters: Sequence[Hashable], num_questions: int) -> IntArray:
    """Returns the number of the cluster of each question, from 0 in order of appearance.

    Raises:
        ValueError: When there is not one cluster for each question.
    """
    if len(clusters) != num_questions:
        raise ValueError(f"expected one cluster for each of {num_questions} scores, found {len(clusters)}")
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(cluster, len(numbers)) for cluster in clusters], dtype=np.int64)


def as_scores(values: ArrayLike) -> FloatArray:
    """Returns the values as an array.

    Raises:
        ValueError: When there is none, or one is not finite.
    """
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or scores.size == 0 or not np.isfinite(scores).all():
        raise ValueError(f"expected one finite score for each of at least one question, found shape {scores.shape}")
    return scores


def _checked(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"expected a confidence between 0 and 1, found {confidence}")
    return confidence


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
    it does not cover the choice of seeds.

    Args:
        scores: `[S, Q]`, the score of each question with each seed.
        clusters: The cluster of each question (copies of a question); None when every question is its own.
        minus: `[T, Q]`, scores of the same questions to subtract. Where T = S the seeds form pairs and are drawn as
            pairs, else each side draws its seeds independently.
        seed: The same seed gives the same interval.
        num_resamples: How many means the quantiles are taken from.
        confidence: The fraction of intervals that hold the true mean.

    Raises:
        ValueError: When the arrays do not fit together.

    Example:
        One question that all seeds answer, one that none does: only the questions are uncertain.

        >>> interval = crossed_bootstrap_interval([[1.0, 0.0] * 50, [1.0, 0.0] * 50], seed=0)
        >>> round(interval.low, 1), round(interval.high, 1)
        (0.4, 0.6)
    """
    positive = _matrix(scores)
    negative = None if minus is None else _matrix(minus)
    num_questions = positive.shape[1]
    if negative is not None and negative.shape[1] != num_questions:
        raise ValueError(f"expected {num_questions} questions on both sides, found {negative.shape[1]}")
    members = cluster_numbers(range(num_questions) if clusters is None else clusters, num_questions)
    sizes = np.bincount(members).astype(np.float64)  # [C]
    positive_sums = _cluster_sums(positive, members)  # [S, C]
    negative_sums = None if negative is None else _cluster_sums(negative, members)  # [T, C]
    generator = np.random.default_rng(seed)
    means: list[FloatArray] = []
    for start in range(0, num_resamples, _CHUNK):
        size = min(_CHUNK, num_resamples - start)
        drawn = _draws(generator, sizes.size, size)  # [R, C]
        seed_draws = _draws(generator, len(positive), size)  # [R, S]
        gains = seed_draws @ positive_sums / len(positive)  # [R, C]
        if negative_sums is not None:
            is_paired = len(negative_sums) == len(positive)
            others = seed_draws if is_paired else _draws(generator, len(negative_sums), size)
            gains = gains - others @ negative_sums / len(negative_sums)
        means.append((drawn * gains).sum(axis=1) / (drawn @ sizes))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return Interval(float(low), float(high))


def _draws(generator: np.random.Generator, num: int, size: int) -> FloatArray:
    """Returns `[size, num]`, how often each of `num` items is drawn in each of `size` resamples."""
    return generator.multinomial(num, np.full(num, 1 / num), size=size).astype(np.float64)


def _cluster_sums(scores: FloatArray, members: NDArray[np.int64]) -> FloatArray:
    return np.stack([np.bincount(members, weights=row) for row in scores]).astype(np.float64)


def _matrix(values: ArrayLike) -> FloatArray:
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(f"expected scores by seed and question, found an array of shape {matrix.shape}")
    return matrix
