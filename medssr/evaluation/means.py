"""Means over benchmarks, each counting the same however many questions it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medssr.evaluation.estimates import Estimate
from medssr.evaluation.statistics import NUM_RESAMPLES

_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class BenchmarkMean:
    """The mean accuracy over benchmarks.

    Attributes:
        members: The benchmarks that it is over.
        missing: Those of them that were not scored; with one missing there is no mean.
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

    The interval is a percentile bootstrap that draws questions within each benchmark: the benchmarks themselves are
    fixed, so the interval speaks of other questions of the same kind and not of other benchmarks.

    Args:
        members: The benchmarks.
        scores: The score of each question, by benchmark.
        seed: Of the bootstrap.
        num_resamples: How many means the quantiles are taken from.

    Example:
        >>> found = benchmark_mean(["medqa", "nejm"], {"medqa": [1.0, 0.0], "nejm": [1.0] * 8}, seed=0)
        >>> found.accuracy.value, found.accuracy.n
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
