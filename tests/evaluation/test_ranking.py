"""Tests Hits@k and the mean reciprocal rank against numbers by hand and against all orders of ties."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.evaluation.ranking import end_counts, hit_probability, rank_queries, reciprocal_rank


def test_the_figures_of_three_queries_by_hand():
    # Ranks 1, 2 or 3 (tied), and none; a fourth query is not ranked at all.
    scores = [{"a": 5, "b": 1}, {"a": 5, "b": 2, "c": 2}, {"a": 5}]
    ranking = rank_queries(scores, ["a", "b", "b"], num_unranked=1)
    assert ranking.num_queries == 4
    assert ranking.hits == {1: 1 / 4, 3: 2 / 4, 10: 2 / 4}
    assert ranking.reciprocal_rank == pytest.approx((1 + (1 / 2 + 1 / 3) / 2) / 4)


def test_walks_without_an_end_count_for_none():
    assert end_counts(["a", None, "b", "a"]) == {"a": 2.0, "b": 1.0}
    assert end_counts([None]) == {}


def test_no_query_is_refused():
    with pytest.raises(ValueError, match="found 0 for 0"):
        rank_queries([], [])
    with pytest.raises(ValueError, match="found 1 for 0"):
        rank_queries([{}], [], num_unranked=3)


@pytest.mark.slow
@given(st.lists(st.integers(0, 2), min_size=1, max_size=4), st.integers(1, 5))
def test_ties_are_means_over_all_orders(values, k):
    scores = {str(index): float(value) for index, value in enumerate(values)}
    orders = [
        order for order in itertools.permutations(scores) if [scores[name] for name in order] == sorted(values)[::-1]
    ]
    ranks = [order.index("0") + 1 for order in orders]
    assert hit_probability(scores, "0", k) == pytest.approx(
        float(Fraction(sum(rank <= k for rank in ranks), len(ranks)))
    )
    assert reciprocal_rank(scores, "0") == pytest.approx(sum(1 / rank for rank in ranks) / len(ranks))
