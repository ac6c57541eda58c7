"""Two models on the same questions: the interval of their difference, exact tests, correction for several tests."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from medssr.statistics.intervals import (
    NUM_RESAMPLES,
    FloatArray,
    IntArray,
    as_scores,
    cluster_numbers,
    clustered_bootstrap_interval,
)

_SMALLEST_P = 1e-15  # the resolution of the sum over all signs


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of a score after a change minus the mean before it, over the same n questions, with its interval."""

    difference: float
    low: float
    high: float
    n: int


def paired_bootstrap_difference(
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = 0.95,
) -> Difference:
    """Returns mean(scores_b) - mean(scores_a) with its BCa bootstrap interval.

    Both score the same questions in the same order: a resample draws questions and keeps the two scores of each
    together (Koehn 2004, "Statistical significance tests for machine translation evaluation", section 4), so that how
    hard a question is cancels. With `clusters`, whole clusters are drawn, as in `clustered_bootstrap_interval`.

    Raises:
        ValueError: When the lengths differ, there is no score, or one is not finite.

    Example:
        b is right on two more of ten questions and wrong on none that a has right.

        >>> result = paired_bootstrap_difference([1] * 4 + [0] * 6, [1] * 6 + [0] * 4, seed=0)
        >>> round(result.difference, 6), result.low, round(result.high, 6), result.n
        (0.2, 0.0, 0.6, 10)
    """
    before, after = as_scores(scores_a), as_scores(scores_b)
    if before.shape != after.shape:
        raise ValueError(f"expected two scores for each question, found {before.size} and {after.size}")
    gains = after - before
    interval = clustered_bootstrap_interval(
        gains, clusters, seed=seed, num_resamples=num_resamples, confidence=confidence
    )
    return Difference(float(gains.mean()), interval.low, interval.high, gains.size)


def mcnemar_p_value(num_lost: int, num_won: int) -> float:
    """Returns the exact two-sided p-value of McNemar's test.

    Only questions that one of the models has right and the other wrong count. If the models were equally good, each of
    them would be won or lost like the toss of a coin; the p-value is the chance of a split at least as uneven
    (McNemar 1947; exact form of Fay 2010, "Two-sided exact tests and matching confidence intervals for discrete
    data", The R Journal 2/1).

    Args:
        num_lost: Questions that only the first model has right.
        num_won: Questions that only the second model has right.

    Example:
        Two lost, nine won: 2 (C(11, 0) + C(11, 1) + C(11, 2)) / 2^11 = 2 * 67 / 2048.

        >>> round(mcnemar_p_value(2, 9), 5)
        0.06543
    """
    from scipy.stats import binomtest

    num_different = num_lost + num_won
    return float(binomtest(num_won, num_different).pvalue) if num_different else 1.0


def sign_flip_p_value(gains: Sequence[int] | IntArray, clusters: Sequence[Hashable] | None = None) -> float:
    """Returns the exact two-sided p-value of the sign-flip test of paired gains.

    If two models were equally good, the gain of each question could as well have the other sign: the p-value is the
    fraction of all 2^Q choices of signs whose sum is at least as far from 0 as the observed one (Fisher 1935, "The
    Design of Experiments", section 21). All choices are counted, none is sampled: gains of one size have a binomial
    sum, and the sums of the sizes are convolved. With gains of -1, 0 and 1 alone it is McNemar's exact test; with
    several samples a question it tests the difference of mean@n. scipy.stats.permutation_test samples instead.

    Args:
        gains: For each question, the right samples of the second model minus those of the first, in whole numbers.
        clusters: The cluster of each question; the gains of a cluster change their sign together. None when every
            question is its own.

    Returns:
        The p-value, at least 1e-15, the resolution of the sum.

    Raises:
        ValueError: When `clusters` has another length.

    Example:
        Gains 1, 2 and 3: the sums 6 and -6 of the eight choices are as far from 0 as 6.

        >>> sign_flip_p_value([1, 2, 3])
        0.25
    """
    values = np.asarray(gains, dtype=np.int64)  # [Q]
    if clusters is not None:
        totals = np.zeros(values.size, dtype=np.int64)
        np.add.at(totals, cluster_numbers(clusters, values.size), values)
        values = totals
    sizes, counts = np.unique(np.abs(values[values != 0]), return_counts=True)  # [K], [K]
    if sizes.size == 0:
        return 1.0
    unit = math.gcd(*sizes.tolist())
    chances = _flipped_sums(sizes // unit, counts)
    # A choice that flips f of the mass has the sum total - 2 f; the observed one flips the mass of the losses.
    total = chances.size - 1
    observed = abs(int(values.sum())) // unit
    fewest = (total - observed) // 2
    both_tails = float(chances[: fewest + 1].sum() + chances[total - fewest :].sum())
    return min(1.0, max(both_tails, _SMALLEST_P))


def holm_adjusted(p_values: Sequence[float]) -> list[float]:
    """Returns the p-values adjusted for their number by Holm's step-down method, in the same order.

    Rejecting the hypotheses with an adjusted p-value of at most 0.05 rejects a true one in at most 5% of comparisons,
    whatever the dependence of the tests (Holm 1979, "A simple sequentially rejective multiple test procedure").

    Example:
        The smallest of four counts four times, the next three times ..., and none less than the one before it.

        >>> [round(p, 3) for p in holm_adjusted([0.01, 0.04, 0.03, 0.005])]
        [0.03, 0.06, 0.06, 0.02]
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def _flipped_sums(sizes: IntArray, counts: IntArray) -> FloatArray:
    """Returns the chance of each total 0 ... sum(sizes * counts) of gains whose sign is flipped by fair coins.

    Args:
        sizes: `[K]`, the sizes of the gains, whole and positive.
        counts: `[K]`, gains of each size.
    """
    from scipy.signal import fftconvolve
    from scipy.stats import binom

    chances: FloatArray = np.ones(1)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        of_size = np.zeros(size * count + 1)
        of_size[::size] = binom.pmf(np.arange(count + 1), count, 0.5)
        chances = of_size if chances.size == 1 else np.clip(fftconvolve(chances, of_size), 0, None)
    return chances
