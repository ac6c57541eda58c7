"""Estimates rates and means from the ratings of a sample, for the rated questions and for the whole question file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medssr.auditing.stratified_sample import SampledQuestion
from medssr.statistics import clustered_bootstrap_interval, wilson_interval

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class IntervalEstimate:
    """A rate or a mean with the ends of its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class SurveyEstimate:
    """A rate or mean of the rated questions, and its estimate for the whole question file.

    Attributes:
        n: Rated questions.
        count: Rated questions with the flag; None for a mean.
        sample: Over the rated questions, each counting the same.
        population: Over the strata, each counting by its size.
        effective_n: Kish's effective sample size of `population`.
        covered_share: Fraction of the question file in strata with a rated question; `population` does not cover the
            rest.
    """

    n: int
    count: int | None
    sample: IntervalEstimate
    population: IntervalEstimate
    effective_n: float
    covered_share: float


def estimate_rate(sample: Sequence[SampledQuestion], flags: dict[str, bool]) -> SurveyEstimate:
    """Returns the rate of a flag.

    The interval of the sample is Wilson's; that of the population is Wilson's with the weighted rate and Kish's
    effective n, (sum w)^2 / sum w^2 (Kish 1965, "Survey Sampling", section 11.7), which is defined even where a stratum
    has one question or no error. It ignores the gain of stratification, so that it is rather too wide.

    Args:
        sample: All sampled questions.
        flags: By question id, for the rated questions: at least one.

    Example:
        One error in 200 is a rate of 0.5%, and the truth may well be 2.8%: the error rate that a small panel reports.

        >>> from medssr.questions import Question
        >>> texts = {"A": "liver", "B": "heart"}
        >>> sample = [SampledQuestion(Question(f"q{i}", "?", texts, None, "s"), "all", 40_000) for i in range(200)]
        >>> rate = estimate_rate(sample, {item.question.id: item.question.id == "q7" for item in sample}).sample
        >>> [round(100 * value, 2) for value in (rate.value, rate.low, rate.high)]
        [0.5, 0.09, 2.78]
    """
    rated, weights, common = _weigh(sample, flags)
    values = np.array([flags[item.question.id] for item in rated], dtype=np.float64)  # [n]
    count = int(values.sum())
    plain = wilson_interval(count, len(values))
    rate = min(1.0, float(weights @ values / weights.sum()))
    weighted = wilson_interval(rate * common["effective_n"], common["effective_n"])
    return SurveyEstimate(
        count=count,
        sample=IntervalEstimate(count / len(values), plain.low, plain.high),
        population=IntervalEstimate(rate, weighted.low, weighted.high),
        **common,
    )


def estimate_mean(sample: Sequence[SampledQuestion], scores: dict[str, float], seed: int) -> SurveyEstimate:
    """Returns the mean of a score, with bootstrap intervals over questions.

    Args:
        sample: All sampled questions.
        scores: By question id, for the rated questions: at least one.
        seed: Of the bootstrap.
    """
    rated, weights, common = _weigh(sample, scores)
    values = np.array([scores[item.question.id] for item in rated])  # [n]
    plain = clustered_bootstrap_interval(values, seed=seed)
    weighted = clustered_bootstrap_interval(values, weights=weights, seed=seed)
    return SurveyEstimate(
        count=None,
        sample=IntervalEstimate(float(values.mean()), plain.low, plain.high),
        population=IntervalEstimate(float(weights @ values / weights.sum()), weighted.low, weighted.high),
        **common,
    )


def _weigh(
    sample: Sequence[SampledQuestion], values: dict[str, Any]
) -> tuple[list[SampledQuestion], FloatArray, dict[str, Any]]:
    """Returns the rated questions, how many questions of the file each stands for, and what all estimates share."""
    rated = [item for item in sample if item.question.id in values]
    num_rated = Counter(item.stratum for item in rated)
    weights = np.array([item.stratum_size / num_rated[item.stratum] for item in rated])  # [n]
    size_of = {item.stratum: item.stratum_size for item in sample}
    shared = {
        "n": len(rated),
        "effective_n": float(weights.sum() ** 2 / (weights**2).sum()),
        "covered_share": sum(size_of[stratum] for stratum in num_rated) / sum(size_of.values()),
    }
    return rated, weights, shared
