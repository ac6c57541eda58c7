"""Intervals and estimators behind every reported number: pure functions of arrays and a seed."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

NUM_RESAMPLES = 10_000

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """The two ends of a confidence interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of a score after a change minus the mean before it, over the same n questions, with its interval."""

    difference: float
    low: float
    high: float
    n: int


def wilson_interval(successes: float, n: float, confidence: float = 0.95) -> Interval:
    """Returns the score interval of a proportion, which keeps its coverage at small n and near 0 and 1.

    With p = successes / n and z the normal quantile of (1 + confidence) / 2 (Wilson 1927, "Probable inference, the
    law of succession, and statistical inference"):

        (p + z^2 / 2n  -+  z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    Args:
        successes: How many of n; a fraction where questions have unequal weights.
        n: How many there are, or the effective number of a weighted sample.
        confidence: The share of intervals that hold the true proportion.

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
    z = NormalDist().inv_cdf((1 + _checked(confidence)) / 2)
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
    """Returns the percentile bootstrap interval of the mean score of the questions.

    The score of a question is the mean over its samples. Samples of one question depend on each other, so whole
    questions are drawn with replacement, never single samples; with `clusters`, whole clusters of questions (for
    example all questions about one disease) are. The interval spans the quantiles (1 -+ confidence) / 2 of the
    resampled means (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13; for clusters Davison
    and Hinkley 1997, section 3.8). It has no width when all scores are equal.

    Args:
        per_question_scores: One score for each question.
        clusters: The cluster of each question; None when every question is its own.
        weights: What each question counts in the mean; None when all count the same.
        seed: The same seed gives the same interval, whatever the order of the questions.
        num_resamples: How many means the quantiles are taken from.
        confidence: The share of intervals that hold the true mean.

    Raises:
        ValueError: When there is no score, one is not finite, or `clusters` or `weights` has another length.

    Example:
        Scores 0 and 1, a hundred each: the standard error is 0.5 / sqrt(200) = 0.035, so the interval is about
        0.5 -+ 1.96 * 0.035.

        >>> interval = clustered_bootstrap_interval([0.0, 1.0] * 100, seed=0)
        >>> round(interval.low, 2), round(interval.high, 2)
        (0.43, 0.57)
    """
    scores = _as_scores(per_question_scores)
    weight_of = np.ones_like(scores) if weights is None else _as_scores(weights)  # [Q]
    if weight_of.shape != scores.shape:
        raise ValueError(f"expected one weight for each of {scores.size} scores, found {weight_of.size}")
    means = _resampled_means(scores, weight_of, clusters, seed, num_resamples)
    return _percentile_interval(means, confidence)


def paired_bootstrap_difference(
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = 0.95,
) -> Difference:
    """Returns mean(scores_b) - mean(scores_a) with its percentile bootstrap interval.

    Both score the same questions in the same order: a resample draws questions and keeps the two scores of each
    together (Koehn 2004, "Statistical significance tests for machine translation evaluation", section 4), so that how
    hard a question is cancels.

    Raises:
        ValueError: When the lengths differ, there is no score, or one is not finite.

    Example:
        b is right on two more of ten questions and wrong on none that a has right.

        >>> result = paired_bootstrap_difference([1] * 4 + [0] * 6, [1] * 6 + [0] * 4, seed=0)
        >>> round(result.difference, 6), result.low, round(result.high, 6), result.n
        (0.2, 0.0, 0.5, 10)
    """
    before, after = _as_scores(scores_a), _as_scores(scores_b)
    if before.shape != after.shape:
        raise ValueError(f"expected two scores for each question, found {before.size} and {after.size}")
    gains = after - before
    interval = _percentile_interval(_resampled_means(gains, np.ones_like(gains), None, seed, num_resamples), confidence)
    return Difference(float(gains.mean()), interval.low, interval.high, gains.size)


def pass_at_k(num_correct: ArrayLike, num_samples: int, k: int) -> FloatArray:
    """Returns, for each question, the unbiased estimate that at least one of k samples is right.

    With c of n samples right it is 1 - C(n - c, k) / C(n, k) (Chen et al. 2021, arXiv 2107.03374, equation 1), here
    as the product of (n - c - j) / (n - j) for j = 0 ... k - 1, which cannot overflow.

    Args:
        num_correct: `[Q]`, how many of the samples of each question are right.
        num_samples: Samples for each question.
        k: Samples that are drawn without replacement.

    Raises:
        ValueError: When k lies outside 1 ... num_samples or a count outside 0 ... num_samples.

    Example:
        Two of four right, k = 2: 1 - C(2, 2) / C(4, 2) = 1 - 1/6.

        >>> pass_at_k([2, 0, 3], num_samples=4, k=2).round(4).tolist()
        [0.8333, 0.0, 1.0]
    """
    correct = np.asarray(num_correct, dtype=np.int64)  # [Q]
    if not 1 <= k <= num_samples:
        raise ValueError(f"expected 1 <= k <= num_samples, found k = {k} and num_samples = {num_samples}")
    if correct.size and (correct.min() < 0 or correct.max() > num_samples):
        raise ValueError(f"expected counts from 0 to {num_samples}, found {correct.min()} to {correct.max()}")
    drawn = np.arange(k)  # [k]
    all_wrong = np.clip(num_samples - correct[..., None] - drawn, 0, None) / (num_samples - drawn)  # [Q, k]
    result: FloatArray = 1.0 - all_wrong.prod(axis=-1)
    return result


def _resampled_means(
    scores: FloatArray, weights: FloatArray, clusters: Sequence[Hashable] | None, seed: int, num_resamples: int
) -> FloatArray:
    """Returns `[num_resamples]` weighted means, each over as many clusters as there are, drawn with replacement.

    Clusters with the same sum and size are interchangeable, so a resample only draws how often each kind occurs.
    """
    sums, sizes = _cluster_totals(scores, weights, clusters)  # [C], [C]
    kinds, counts = np.unique(np.stack([sums, sizes], axis=1), axis=0, return_counts=True)  # [K, 2], [K]
    num_clusters = int(counts.sum())
    draws = np.random.default_rng(seed).multinomial(num_clusters, counts / num_clusters, size=num_resamples)  # [R, K]
    totals = draws @ kinds  # [R, 2]
    means: FloatArray = totals[:, 0] / totals[:, 1]
    return means


def _cluster_totals(
    scores: FloatArray, weights: FloatArray, clusters: Sequence[Hashable] | None
) -> tuple[FloatArray, FloatArray]:
    """Returns the weighted sum of the scores of each cluster and its weight."""
    if clusters is None:
        return scores * weights, weights
    if len(clusters) != scores.size:
        raise ValueError(f"expected one cluster for each of {scores.size} scores, found {len(clusters)}")
    numbers: dict[Hashable, int] = {}
    member_of = np.array([numbers.setdefault(cluster, len(numbers)) for cluster in clusters])
    sums: FloatArray = np.bincount(member_of, weights=scores * weights).astype(np.float64)
    return sums, np.bincount(member_of, weights=weights).astype(np.float64)


def _percentile_interval(means: FloatArray, confidence: float) -> Interval:
    tail = (1 - _checked(confidence)) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(low), float(high))


def _as_scores(values: ArrayLike) -> FloatArray:
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or scores.size == 0 or not np.isfinite(scores).all():
        raise ValueError(f"expected one finite score for each of at least one question, found shape {scores.shape}")
    return scores


def _checked(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"expected a confidence between 0 and 1, found {confidence}")
    return confidence
