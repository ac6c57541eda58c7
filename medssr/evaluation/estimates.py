"""Numbers that are reported: a mean with its interval, a share with its counts."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from medssr.evaluation.statistics import clustered_bootstrap_interval, wilson_interval

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
    """A share: `count` of `n`."""

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
    """Returns a share with its two counts."""
    return Rate(rounded(count / n), count, n)


def rounded(value: float) -> float:
    """Returns the digits of a number that do not differ between machines."""
    return round(value, _DECIMALS) + 0.0  # no -0.0
