import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from medssr.statistics import (
    clustered_bootstrap_interval,
    holm_adjusted,
    mcnemar_p_value,
    paired_bootstrap_difference,
    sign_flip_p_value,
)

# Darwin's maize: the heights of crossed minus self-fertilised plants in eighths of an inch
MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def test_paired_difference_by_hand():
    result = paired_bootstrap_difference([0.0, 0.5, 1.0], [1.0, 0.5, 0.75], seed=0)
    assert result.difference == pytest.approx(0.25)  # (1 + 0 - 0.25) / 3
    assert result.n == 3
    assert -0.25 <= result.low < 0.25 < result.high <= 1.0


@pytest.mark.slow
def test_paired_difference_has_a_sign_and_is_narrower_than_an_unpaired_one():
    rng = np.random.default_rng(2)
    before = rng.random(200)
    after = np.clip(before + rng.normal(0.05, 0.05, size=200), 0, 1)
    gain = paired_bootstrap_difference(before, after, seed=0)
    loss = paired_bootstrap_difference(after, before, seed=0)
    alone = clustered_bootstrap_interval(after, seed=0)
    assert gain.low > 0 > loss.high
    assert gain.difference == pytest.approx(-loss.difference)
    assert gain.high - gain.low < 0.5 * (alone.high - alone.low)


def test_equal_scores_differ_by_nothing_and_unequal_lengths_are_refused():
    result = paired_bootstrap_difference([0.0, 1.0, 0.5], [0.0, 1.0, 0.5], seed=0)
    assert (result.difference, result.low, result.high) == (0, 0, 0)
    with pytest.raises(ValueError, match="found 1 and 2"):
        paired_bootstrap_difference([1.0], [1.0, 0.0], seed=0)


def test_a_paired_difference_agrees_with_scipy():
    rng = np.random.default_rng(4)
    before, after = rng.integers(5, size=(2, 200)) / 4
    expected = scipy.stats.bootstrap((after - before,), np.mean, n_resamples=20_000, rng=np.random.default_rng(1))
    result = paired_bootstrap_difference(before, after, seed=0, num_resamples=20_000)
    ends = expected.confidence_interval
    assert (result.low, result.high) == pytest.approx((ends.low, ends.high), abs=0.005)


def test_copies_of_questions_make_no_difference_more_certain():
    rng = np.random.default_rng(4)
    before, after = rng.integers(2, size=(2, 80))
    copies = [number // 3 for number in range(240)]
    single = paired_bootstrap_difference(before, after, seed=0)
    copied = paired_bootstrap_difference(np.repeat(before, 3), np.repeat(after, 3), copies, seed=0)
    assert (copied.difference, copied.low, copied.high) == pytest.approx((single.difference, single.low, single.high))
    assert copied.n == 240
    assert sign_flip_p_value(np.repeat(after - before, 3), copies) == pytest.approx(sign_flip_p_value(after - before))


def paired_benchmark(rng, gain, num_questions=400, num_samples=4):
    """The scores of two models on questions of which the second model knows `gain` more."""
    chances = rng.beta(1.2, 0.8, size=num_questions)
    before = rng.binomial(num_samples, chances * (1 - gain))
    return before, rng.binomial(num_samples, chances * (1 - gain) + gain)


@pytest.mark.slow
@pytest.mark.parametrize("gain", [0.0, 0.05])
def test_paired_intervals_cover_the_truth_and_tests_find_nothing_where_nothing_is(gain):
    rng = np.random.default_rng(9)
    covered = rejected = 0
    for number in range(2_000):
        before, after = paired_benchmark(rng, gain)
        found = paired_bootstrap_difference(before / 4, after / 4, seed=number, num_resamples=1_000)
        covered += found.low <= gain <= found.high
        rejected += sign_flip_p_value(after - before) <= 0.05
    assert 0.94 <= covered / 2_000 <= 0.96
    if gain == 0:
        assert 0.04 <= rejected / 2_000 <= 0.06


def test_fisher_counted_1726_of_32768_choices_of_signs():
    # "The Design of Experiments", section 21: 863 choices with a sum of at least 314, as many of at most -314
    assert sign_flip_p_value(MAIZE) == pytest.approx(1726 / 32768, abs=1e-12)


@pytest.mark.slow
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_the_sign_flip_test_counts_all_choices_of_signs(gains):
    sums = [
        sum(sign * gain for sign, gain in zip(signs, gains, strict=True))
        for signs in itertools.product((-1, 1), repeat=len(gains))
    ]
    expected = np.mean(np.abs(sums) >= abs(sum(gains)))
    assert sign_flip_p_value(gains) == pytest.approx(expected)
    assert sign_flip_p_value([-gain for gain in gains]) == sign_flip_p_value(gains)


@pytest.mark.slow
def test_the_sign_flip_test_agrees_with_scipy():
    gains = np.random.default_rng(1).integers(-4, 6, size=16)
    expected = scipy.stats.permutation_test((gains,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p_value(gains) == pytest.approx(expected.pvalue)


def test_questions_in_one_cluster_change_their_sign_together():
    assert sign_flip_p_value([1, 1, 1, 1]) == pytest.approx(2 / 16)
    assert sign_flip_p_value([1, 1, 1, 1], ["x", "x", "y", "y"]) == pytest.approx(2 / 4)
    with pytest.raises(ValueError, match="one cluster"):
        sign_flip_p_value([1, 1], ["x"])


def test_a_p_value_of_many_questions_is_neither_lost_nor_zero():
    assert sign_flip_p_value([]) == sign_flip_p_value([0, 0]) == 1.0
    assert sign_flip_p_value([4] * 5_000) == 1e-15
    gains = np.random.default_rng(0).integers(-16, 17, size=20_000)
    normal = 2 * scipy.stats.norm.sf(abs(gains.sum()) / np.sqrt((gains**2).sum()))
    assert sign_flip_p_value(gains) == pytest.approx(normal, rel=0.01)


@pytest.mark.parametrize(
    ("num_lost", "num_won", "expected"),
    [
        (2, 9, 0.06543),  # Fay 2010, vignette "Exact McNemar's test and matching confidence intervals" of exact2x2
        (150, 86, 3.7159361395713866e-05),  # the others: statsmodels 0.15.0, mcnemar(table, exact=True).pvalue
        (37, 61, 0.019690184799846844),
        (0, 5, 0.0625),
        (4, 4, 1.0),
        (1, 0, 1.0),
    ],
)
def test_mcnemar_equals_published_values(num_lost, num_won, expected):
    assert mcnemar_p_value(num_lost, num_won) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_binomial_test(num_lost, num_won):
    n = num_lost + num_won
    expected = scipy.stats.binomtest(num_lost, n).pvalue if n else 1.0
    assert mcnemar_p_value(num_lost, num_won) == pytest.approx(expected, rel=1e-6, abs=1e-14)


def test_holm_equals_statsmodels():
    # ten of the fifteen p-values of Benjamini and Hochberg 1995, section 4.1, by statsmodels 0.15.0, multipletests
    p_values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240]
    expected = [0.001, 0.0036, 0.0152, 0.0665, 0.1206, 0.139, 0.139, 0.139, 0.139, 0.324]
    assert holm_adjusted(p_values) == pytest.approx(expected)
    assert holm_adjusted(p_values[::-1]) == pytest.approx(expected[::-1])
    assert holm_adjusted([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_lowers_a_p_value_nor_swaps_two(p_values):
    adjusted = holm_adjusted(p_values)
    assert all(p <= after <= 1 for p, after in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert all(np.diff(np.array(adjusted)[order]) >= 0)


def test_holm_rejects_anything_falsely_in_at_most_one_comparison_in_twenty():
    p_values = np.random.default_rng(5).random((2_000, 10))
    assert 0.035 <= np.mean([min(holm_adjusted(row)) <= 0.05 for row in p_values.tolist()]) <= 0.055
