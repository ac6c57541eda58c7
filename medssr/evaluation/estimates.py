"""The numbers that are reported: means with their intervals, rates with their counts."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medssr.statistics import NUM_RESAMPLES, clustered_bootstrap_interval, wilson_interval

_DECIMALS = 6  # the last bits of a float may differ between machines; these digits do not


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over n questions with its 95% interval; `method` is "bootstrap" (BCa, over clusters) or "wilson"."""

    value: float
    low: float
    high: float
    n: int
    method: str


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate: `count` of `n`."""

    value: float
    count: int
    n: int


def mean_estimate(scores: Sequence[float], seed: int, clusters: Sequence[Hashable] | None = None) -> Estimate:
    """Returns the mean of the questions' scores with its 95% interval.

    It is Wilson's where the questions are independent and each scores 0 or 1, and where a bootstrap has no width: where
    all scores are equal or all questions one cluster. Else it is the bootstrap's.

    Args:
        scores: Scores from 0 to 1, one a question.
        seed: Of the bootstrap.
        clusters: The cluster of each question; None when every question is its own.

    Raises:
        ValueError: When there is no score.
    """
    if not scores:
        raise ValueError("expected the scores of n > 0 questions")
    mean = sum(scores) / len(scores)
    num_clusters = len(scores) if clusters is None else len(set(clusters))
    is_proportion = num_clusters == len(scores) and all(value in (0.0, 1.0) for value in scores)
    if is_proportion or num_clusters == 1 or all(value == scores[0] for value in scores):
        interval, method = wilson_interval(min(mean, 1.0) * num_clusters, num_clusters), "wilson"
    else:
        interval, method = clustered_bootstrap_interval(scores, clusters, seed=seed), "bootstrap"
    return Estimate(rounded(mean), rounded(interval.low), rounded(interval.high), len(scores), method)


def rate(count: int, n: int) -> Rate:
    """Returns the rate of `count` in `n`."""
    return Rate(rounded(count / n), count, n)


def rounded(value: float) -> float:
    """Returns the number, rounded to digits that do not differ between machines."""
    return round(value, _DECIMALS) + 0.0  # no -0.0


@dataclass(frozen=True, slots=True)
class BenchmarkMean:
    """The mean accuracy over benchmarks.

    Attributes:
        members: The benchmarks of the mean.
        missing: Members that were not scored; with one missing there is no mean.
        accuracy: The mean with its 95% interval; n is the number of questions in all.
        second_pass_accuracy: The same after a second pass; None where none was made.
    """

    members: list[str]
    missing: list[str]
    accuracy: Estimate | None
    second_pass_accuracy: Estimate | None = None


def benchmark_mean(
    members: Sequence[str], scores: Mapping[str, Sequence[float]], seed: int, num_resamples: int = NUM_RESAMPLES
) -> BenchmarkMean:
    """Returns the mean over benchmarks of the mean over each one's questions.

    The interval is a percentile bootstrap that draws questions within each benchmark. The benchmarks are fixed: the
    interval covers the choice of questions, not that of benchmarks.

    Args:
        members: The benchmarks.
        scores: The score of each question, by benchmark.
        seed: Of the bootstrap.
        num_resamples: How many means the quantiles are taken from.

    Example:
        >>> mean = benchmark_mean(["medqa", "nejm"], {"medqa": [1.0, 0.0], "nejm": [1.0] * 8}, seed=0)
        >>> mean.accuracy.value, mean.accuracy.n
        (0.75, 10)
        >>> benchmark_mean(["medqa", "nejm"], {"medqa": [1.0, 0.0]}, seed=0).missing
        ['nejm']
    """
    missing = [name for name in members if name not in scores]
    if missing:
        return BenchmarkMean(list(members), missing, None)
    generator = np.random.default_rng(seed)
    resampled = np.zeros(num_resamples)
    for name in members:
        values, counts = np.unique(np.asarray(scores[name], dtype=np.float64), return_counts=True)  # [K], [K]
        num_questions = int(counts.sum())
        draws = generator.multinomial(num_questions, counts / num_questions, size=num_resamples)  # [R, K]
        resampled += draws @ values / num_questions / len(members)
    low, high = np.quantile(resampled, [0.025, 0.975])
    value = sum(sum(scores[name]) / len(scores[name]) for name in members) / len(members)
    n = sum(len(scores[name]) for name in members)
    return BenchmarkMean(
        list(members),
        [],
        Estimate(round(value, _DECIMALS), round(float(low), _DECIMALS), round(float(high), _DECIMALS), n, "bootstrap"),
    )
