"""Link prediction: the rank of the true answer among candidates, Hits@k and the mean reciprocal rank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

HITS_AT = (1, 3, 10)


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well queries are answered.

    Attributes:
        num_queries: The number of queries, those without a ranked answer included.
        hits: The fraction of queries whose answer is among the first k, by k.
        reciprocal_rank: The mean of 1 / rank, which is 0 for an answer that is not ranked.
    """

    num_queries: int
    hits: Mapping[int, float]
    reciprocal_rank: float


def hit_probability(scores: Mapping[str, float], answer: str, k: int) -> float:
    """Returns the probability that an answer is among the first k, where ties are broken at random.

    Args:
        scores: The score of each ranked candidate, such as how many walks end at it; a higher one comes first.
        answer: The true answer, which need not be ranked.
        k: The number of candidates that count.

    Example:
        >>> hit_probability({"liver": 3, "heart": 1, "skin": 1}, "heart", 2), hit_probability({"liver": 3}, "heart", 2)
        (0.5, 0.0)
    """
    num_better, num_tied = _places(scores, answer)
    return min(1.0, max(0, k - num_better) / num_tied) if num_tied else 0.0


def reciprocal_rank(scores: Mapping[str, float], answer: str) -> float:
    """Returns the mean of 1 / rank over the orders of ties; 0 for an answer that is not ranked.

    Example:
        >>> reciprocal_rank({"liver": 3, "heart": 1, "skin": 1}, "heart") == (1 / 2 + 1 / 3) / 2
        True
    """
    num_better, num_tied = _places(scores, answer)
    return fmean(1 / (num_better + rank) for rank in range(1, num_tied + 1)) if num_tied else 0.0


def rank_queries(scores: Sequence[Mapping[str, float]], answers: Sequence[str], num_unranked: int = 0) -> Ranking:
    """Returns Hits@k and the mean reciprocal rank.

    Args:
        scores: The scores of each query's candidates.
        answers: The true answer of each query.
        num_unranked: The number of further queries, whose answer is ranked nowhere.

    Raises:
        ValueError: When there is no query, or their numbers differ.
    """
    num_queries = len(answers) + num_unranked
    if not num_queries or len(scores) != len(answers):
        raise ValueError(f"expected the scores of each answer, found {len(scores)} for {len(answers)}")
    pairs = list(zip(scores, answers, strict=True))
    hits = {k: sum(hit_probability(*pair, k) for pair in pairs) / num_queries for k in HITS_AT}
    return Ranking(num_queries, hits, sum(reciprocal_rank(*pair) for pair in pairs) / num_queries)


def end_counts(ends: Sequence[str | None]) -> dict[str, float]:
    """Returns the number of walks with each end; a walk without one counts for none."""
    return {end: float(count) for end, count in Counter(ends).items() if end is not None}


def _places(scores: Mapping[str, float], answer: str) -> tuple[int, int]:
    """Returns how many candidates are better than the answer, and how many have its score, itself included."""
    if answer not in scores:
        return 0, 0
    score = scores[answer]
    return sum(other > score for other in scores.values()), sum(other == score for other in scores.values())
