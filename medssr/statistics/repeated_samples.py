"""Estimators from several samples of each question: pass@k, and the calibration of their agreement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from medssr.statistics.intervals import FloatArray, wilson_interval


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


_SAME = 1e-9  # an agreement of 3/10 belongs to the bin that ends at 0.3, whatever its last bit


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The questions whose agreement lies in (low, high].

    Attributes:
        low: Lower end of the bin, not part of it but for 0.
        high: Upper end of the bin, part of it.
        n: Questions in the bin.
        agreement: Their mean agreement.
        accuracy: The fraction of them whose answer is right.
        accuracy_low: Lower end of its 95% Wilson interval.
        accuracy_high: Upper end.
    """

    low: float
    high: float
    n: int
    agreement: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Agreement against accuracy.

    Attributes:
        bins: The bins that hold a question, in order.
        expected_error: Expected calibration error, the mean over questions of |accuracy - agreement| of their bin.
        n: Questions in all bins.
    """

    bins: list[ReliabilityBin]
    expected_error: float
    n: int


def calibration(agreement: ArrayLike, is_right: ArrayLike, num_bins: int = 10) -> Calibration:
    """Returns the accuracy of answers by the agreement of the samples on them.

    The bins have equal width; the expected calibration error weights |accuracy - mean agreement| of each by its
    fraction of the questions (Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning").

    Args:
        agreement: `[Q]`, for each question the fraction of its votes that are for its answer.
        is_right: `[Q]`, whether that answer is right.
        num_bins: Bins between 0 and 1.

    Raises:
        ValueError: When the lengths differ, there is no bin, or an agreement lies outside 0 ... 1.

    Example:
        Two questions agree fully and one of them is right, two agree by half and one of them is right:
        (2 * |1/2 - 1| + 2 * |1/2 - 1/2|) / 4.

        >>> result = calibration([1.0, 1.0, 0.5, 0.5], [True, False, True, False], num_bins=2)
        >>> result.expected_error, [(each.low, each.high, each.n, each.accuracy) for each in result.bins]
        (0.25, [(0.0, 0.5, 2, 0.5), (0.5, 1.0, 2, 0.5)])
    """
    agreements: FloatArray = np.asarray(agreement, dtype=np.float64)  # [Q]
    right: FloatArray = np.asarray(is_right, dtype=np.float64)  # [Q]
    if agreements.shape != right.shape or agreements.ndim != 1 or num_bins < 1:
        raise ValueError(
            f"expected one answer an agreement and a bin, found {agreements.size}, {right.size}, {num_bins}"
        )
    if not ((agreements >= 0) & (agreements <= 1)).all():
        raise ValueError("expected agreements from 0 to 1")
    bin_index = np.clip(np.ceil(agreements * num_bins - _SAME).astype(np.int64) - 1, 0, num_bins - 1)  # [Q]
    bins = [
        _bin(agreements[bin_index == number], right[bin_index == number], number, num_bins)
        for number in np.unique(bin_index)
    ]
    error = sum(each.n * abs(each.accuracy - each.agreement) for each in bins) / max(1, agreements.size)
    return Calibration(bins, float(error), agreements.size)


def _bin(agreements: FloatArray, right: FloatArray, number: int, num_bins: int) -> ReliabilityBin:
    ends = wilson_interval(right.sum(), right.size)
    return ReliabilityBin(
        low=float(number / num_bins),
        high=float((number + 1) / num_bins),
        n=right.size,
        agreement=float(agreements.mean()),
        accuracy=float(right.mean()),
        accuracy_low=float(ends.low),
        accuracy_high=float(ends.high),
    )
