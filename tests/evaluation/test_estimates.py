import pytest

from medssr.evaluation.estimates import benchmark_mean
from medssr.statistics import clustered_bootstrap_interval

SCORES = {"medqa": [1.0, 0.0] * 50, "nejm": [1.0] * 30 + [0.0] * 10, "raredis": [0.25]}


def test_each_benchmark_counts_the_same():
    found = benchmark_mean(["medqa", "nejm"], SCORES, seed=0)
    assert found.accuracy.value == 0.625  # (1/2 + 3/4) / 2, not 80 / 140
    assert found.accuracy.n == 140
    assert (found.members, found.missing) == (["medqa", "nejm"], [])


def test_the_interval_is_that_of_independent_means():
    found = benchmark_mean(["medqa", "nejm"], SCORES, seed=0).accuracy
    standard_error = ((0.25 / 100 + 0.1875 / 40) / 4) ** 0.5
    assert found.low == pytest.approx(0.625 - 1.96 * standard_error, abs=0.01)
    assert found.high == pytest.approx(0.625 + 1.96 * standard_error, abs=0.01)


def test_one_benchmark_has_its_own_interval():
    found = benchmark_mean(["medqa"], SCORES, seed=0).accuracy
    expected = clustered_bootstrap_interval(SCORES["medqa"], seed=0)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_a_missing_member_is_named_and_there_is_no_mean():
    found = benchmark_mean(["medqa", "bioasq", "mmlu"], SCORES, seed=0)
    assert (found.missing, found.accuracy) == (["bioasq", "mmlu"], None)
