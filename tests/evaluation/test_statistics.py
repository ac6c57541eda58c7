import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from medssr.evaluation.statistics import (
    clustered_bootstrap_interval,
    paired_bootstrap_difference,
    pass_at_k,
    wilson_interval,
)


def test_wilson_interval_by_hand():
    # p = 0.8, n = 10, z = 1.959964, z^2 = 3.841459
    centre = (0.8 + 3.841459 / 20) / 1.3841459
    half_width = 1.959964 * math.sqrt(0.016 + 3.841459 / 400) / 1.3841459
    interval = wilson_interval(8, 10)
    assert interval.low == pytest.approx(centre - half_width, abs=1e-6)
    assert interval.high == pytest.approx(centre + half_width, abs=1e-6)


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.8, 0.95]))
def test_wilson_interval_equals_scipy(counts, confidence):
    expected = scipy.stats.binomtest(*counts).proportion_ci(confidence, method="wilson")
    interval = wilson_interval(*counts, confidence)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= interval.low <= counts[0] / counts[1] <= interval.high <= 1


@pytest.mark.parametrize(("successes", "n", "confidence"), [(1, 0, 0.95), (-1, 3, 0.95), (4, 3, 0.95), (1, 3, 1.0)])
def test_wilson_interval_refuses_what_is_no_proportion(successes, n, confidence):
    with pytest.raises(ValueError, match="expected"):
        wilson_interval(successes, n, confidence)


@pytest.mark.parametrize("num_values", [2, 5, None])
def test_bootstrap_interval_agrees_with_scipy(num_values):
    rng = np.random.default_rng(7)
    scores = rng.random(150) if num_values is None else rng.integers(num_values, size=150) / (num_values - 1)
    expected = scipy.stats.bootstrap(
        (scores,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(1)
    ).confidence_interval
    interval = clustered_bootstrap_interval(scores, seed=0, num_resamples=20_000)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=0.005)


def test_bootstrap_interval_of_a_weighted_mean():
    # Equal weights change nothing, whatever their size; the four resamples of {0, 1} with weights 3 and 1 have means 0,
    # 1/4, 1/4, 1.
    scores = [0.0, 1.0, 1.0, 0.5]
    assert clustered_bootstrap_interval(scores, weights=[2.5] * 4, seed=0) == clustered_bootstrap_interval(
        scores, seed=0
    )
    interval = clustered_bootstrap_interval([0.0, 1.0], weights=[3, 1], seed=0, confidence=0.4)
    assert (interval.low, interval.high) == (0.25, 0.25)
    with pytest.raises(ValueError, match="one weight"):
        clustered_bootstrap_interval([0.0, 1.0], weights=[1.0], seed=0)


def test_bootstrap_interval_of_two_questions_by_hand():
    # the four equally likely resamples of {0, 1} have means 0, 1/2, 1/2, 1
    interval = clustered_bootstrap_interval([0.0, 1.0], seed=0, confidence=0.4)
    assert (interval.low, interval.high) == (0.5, 0.5)
    interval = clustered_bootstrap_interval([0.0, 1.0], seed=0, confidence=0.6)
    assert (interval.low, interval.high) == (0.0, 1.0)


def test_bootstrap_depends_on_the_seed_alone_not_on_the_order():
    scores = np.random.default_rng(3).integers(5, size=80) / 4
    first = clustered_bootstrap_interval(scores, seed=5, num_resamples=500)
    assert first == clustered_bootstrap_interval(scores[::-1], seed=5, num_resamples=500)
    others = {clustered_bootstrap_interval(scores, seed=seed, num_resamples=500) for seed in range(20)}
    assert len(others) > 1


def test_clusters_of_one_question_change_nothing():
    scores = np.random.default_rng(3).integers(5, size=80) / 4
    assert clustered_bootstrap_interval(scores, list(range(80)), seed=5) == clustered_bootstrap_interval(scores, seed=5)


def test_copies_of_a_question_in_one_cluster_add_no_certainty():
    scores = np.random.default_rng(3).integers(2, size=60).astype(float)
    single = clustered_bootstrap_interval(scores, seed=5)
    copied = clustered_bootstrap_interval(np.repeat(scores, 4), [number // 4 for number in range(240)], seed=5)
    ignored = clustered_bootstrap_interval(np.repeat(scores, 4), seed=5)
    assert (copied.low, copied.high) == pytest.approx((single.low, single.high))
    assert ignored.high - ignored.low < 0.6 * (copied.high - copied.low)


def test_clusters_of_unequal_size_are_weighted_by_their_questions():
    # resamples of the clusters {1, 1, 1} and {0}: 6/6, 3/4, 3/4, 0/2
    scores, clusters = [1, 1, 1, 0], ["x", "x", "x", "y"]
    interval = clustered_bootstrap_interval(scores, clusters, seed=0, confidence=0.4)
    assert (interval.low, interval.high) == (0.75, 0.75)


def test_equal_scores_give_an_interval_without_width():
    interval = clustered_bootstrap_interval([0.5] * 9, seed=0)
    assert (interval.low, interval.high) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("scores", "clusters"), [([], None), ([1.0, math.nan], None), ([[1.0], [0.0]], None), ([1.0, 0.0], ["x"])]
)
def test_bootstrap_refuses_what_it_cannot_resample(scores, clusters):
    with pytest.raises(ValueError, match="expected"):
        clustered_bootstrap_interval(scores, clusters, seed=0)


def test_bootstrap_interval_holds_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(11)
    num_simulations, num_questions, num_samples = 300, 100, 4
    difficulty = rng.beta(2, 2, size=(num_simulations, num_questions))  # true mean 0.5
    scores = rng.binomial(num_samples, difficulty) / num_samples
    covered = 0
    for simulated in scores:
        interval = clustered_bootstrap_interval(simulated, seed=0, num_resamples=1000)
        covered += interval.low <= 0.5 <= interval.high
    assert 0.91 <= covered / num_simulations <= 0.98


def test_paired_difference_by_hand():
    result = paired_bootstrap_difference([0.0, 0.5, 1.0], [1.0, 0.5, 0.75], seed=0)
    assert result.difference == pytest.approx(0.25)  # (1 + 0 - 0.25) / 3
    assert result.n == 3
    assert result.low == pytest.approx(-0.25)  # the third question three times: 1 of 27 resamples, more than 2.5%
    assert result.high == pytest.approx(1.0)


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


@pytest.mark.parametrize(
    ("num_correct", "num_samples", "k", "expected"),
    [(0, 4, 2, 0.0), (1, 4, 2, 0.5), (2, 4, 2, 5 / 6), (3, 4, 2, 1.0), (1, 4, 1, 0.25), (1, 4, 4, 1.0)],
)
def test_pass_at_k_by_hand(num_correct, num_samples, k, expected):
    assert pass_at_k([num_correct], num_samples, k).tolist() == pytest.approx([expected])


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n), st.integers(1, n))))
def test_pass_at_k_equals_the_share_of_all_subsets_that_hold_a_right_sample(case):
    num_correct, num_samples, k = case
    subsets = list(itertools.combinations([True] * num_correct + [False] * (num_samples - num_correct), k))
    expected = sum(map(any, subsets)) / len(subsets)
    assert pass_at_k([num_correct], num_samples, k)[0] == pytest.approx(expected)


def test_pass_at_k_does_not_overflow_and_keeps_the_shape():
    estimates = pass_at_k(np.arange(0, 2001, 500), 2000, 1000)
    assert estimates.shape == (5,)
    assert np.isfinite(estimates).all()


@pytest.mark.parametrize(("num_correct", "num_samples", "k"), [([1], 4, 0), ([1], 4, 5), ([5], 4, 2), ([-1], 4, 2)])
def test_pass_at_k_refuses_impossible_counts(num_correct, num_samples, k):
    with pytest.raises(ValueError, match="expected"):
        pass_at_k(num_correct, num_samples, k)
