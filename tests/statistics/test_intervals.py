import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from medssr.statistics import clustered_bootstrap_interval, crossed_bootstrap_interval, wilson_interval


@pytest.mark.slow
@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.8, 0.95]))
def test_wilson_interval_equals_scipy(counts, confidence):
    expected = scipy.stats.binomtest(*counts).proportion_ci(confidence, method="wilson")
    interval = wilson_interval(*counts, confidence)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= interval.low <= counts[0] / counts[1] <= interval.high <= 1


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_equals_published_ones(successes, n, low, high):
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3
    interval = wilson_interval(successes, n)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


@pytest.mark.parametrize(("successes", "n", "confidence"), [(1, 0, 0.95), (-1, 3, 0.95), (4, 3, 0.95), (1, 3, 1.0)])
def test_wilson_interval_refuses_what_is_no_proportion(successes, n, confidence):
    with pytest.raises(ValueError, match="expected"):
        wilson_interval(successes, n, confidence)


@pytest.mark.slow
@pytest.mark.parametrize("num_values", [2, 5, None])
@pytest.mark.parametrize("power", [1, 6])
def test_bootstrap_interval_agrees_with_scipy(num_values, power):
    rng = np.random.default_rng(7)
    scores = rng.random(150) if num_values is None else rng.integers(num_values, size=150) / (num_values - 1)
    scores = scores**power  # the higher the power, the more skewed
    expected = scipy.stats.bootstrap(
        (scores,), np.mean, method="BCa", n_resamples=20_000, rng=np.random.default_rng(1)
    ).confidence_interval
    interval = clustered_bootstrap_interval(scores, seed=0, num_resamples=20_000)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=0.004)


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


def benchmarks(num_simulations, num_questions, num_samples, accuracy, copied_share, rng):
    """Simulated benchmarks: the scores and the clusters of their questions, some of which are asked twice.

    How often a question is answered right differs between questions (beta distribution) around `accuracy`.
    """
    num_copies = round(num_questions * copied_share)
    clusters = [*range(num_questions - num_copies), *range(num_copies)]
    for _ in range(num_simulations):
        chances = rng.beta(2 * accuracy, 2 * (1 - accuracy), size=num_questions - num_copies)
        yield rng.binomial(num_samples, chances[clusters]) / num_samples, clusters


def misses(simulated, accuracy, num_resamples):
    """The shares of intervals that lie wholly below and wholly above the true accuracy."""
    intervals = [
        clustered_bootstrap_interval(scores, clusters, seed=number, num_resamples=num_resamples)
        for number, (scores, clusters) in enumerate(simulated)
    ]
    return (
        np.mean([interval.high < accuracy for interval in intervals]),
        np.mean([interval.low > accuracy for interval in intervals]),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_questions", "num_samples", "accuracy", "copied_share"),
    [(300, 4, 0.6, 0.1), (300, 4, 0.9, 0.1), (1000, 4, 0.75, 0.0), (400, 1, 0.85, 0.25), (300, 4, 0.3, 0.0)],
)
def test_intervals_cover_the_truth_in_95_of_100_benchmarks(num_questions, num_samples, accuracy, copied_share):
    rng = np.random.default_rng(num_questions + round(100 * accuracy))
    simulated = benchmarks(2_000, num_questions, num_samples, accuracy, copied_share, rng)
    below, above = misses(simulated, accuracy, num_resamples=2_000)
    assert 0.94 <= 1 - below - above <= 0.96
    assert 0.015 <= below <= 0.035
    assert 0.015 <= above <= 0.035


@pytest.mark.parametrize(("n", "accuracy"), [(300, 0.6), (300, 0.9), (1000, 0.75)])
def test_wilson_intervals_cover_the_truth_in_95_of_100_benchmarks(n, accuracy):
    # The sum over all outcomes, each with its chance: no simulation needed.
    outcomes = [wilson_interval(count, n) for count in range(n + 1)]
    holds = np.array([interval.low <= accuracy <= interval.high for interval in outcomes])
    assert 0.94 <= scipy.stats.binom.pmf(np.arange(n + 1), n, accuracy)[holds].sum() <= 0.96


def test_one_seed_gives_the_interval_over_questions():
    scores = np.random.default_rng(0).random(200)
    crossed, plain = crossed_bootstrap_interval([scores], seed=0), clustered_bootstrap_interval(scores, seed=0)
    assert (crossed.low, crossed.high) == pytest.approx((plain.low, plain.high), abs=0.01)


def test_seeds_that_differ_widen_the_interval():
    scores = np.random.default_rng(0).random(200)
    same = crossed_bootstrap_interval([scores, scores], seed=0)
    apart = crossed_bootstrap_interval([scores - 0.2, scores + 0.2], seed=0)
    assert apart.high - apart.low > 2 * (same.high - same.low)


def test_equal_scores_have_no_difference():
    scores = np.random.default_rng(0).random((3, 50))
    interval = crossed_bootstrap_interval(scores, minus=scores, seed=0)
    assert (interval.low, interval.high) == (0, 0)


def test_the_difficulty_of_questions_cancels_in_a_difference():
    scores = np.random.default_rng(0).random((2, 50))
    interval = crossed_bootstrap_interval(scores + 0.1, minus=scores, seed=0)
    assert (interval.low, interval.high) == pytest.approx((0.1, 0.1))


def test_copies_of_a_question_are_drawn_together():
    scores = np.array([[0.0, 1.0] * 30])
    alone = crossed_bootstrap_interval(scores, seed=0)
    together = crossed_bootstrap_interval(scores, [number // 2 // 10 for number in range(60)], seed=0)
    assert together.high - together.low < alone.high - alone.low  # each cluster holds as many right as wrong ones


@pytest.mark.slow
def test_it_holds_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    held = 0
    for number in range(200):
        seeds, questions = 0.05 * generator.standard_normal((4, 1)), 0.2 * generator.standard_normal((1, 60))
        scores = 0.5 + seeds + questions + 0.1 * generator.standard_normal((4, 60))
        interval = crossed_bootstrap_interval(scores, seed=number, num_resamples=500)
        held += interval.low <= 0.5 <= interval.high
    assert 0.85 <= held / 200 <= 1.0  # four seeds: their own bootstrap is short, the pigeonhole is wide


@pytest.mark.parametrize("minus", [[[0.5]], [[0.5, 0.5, 0.5]]])
def test_sides_with_different_questions_are_refused(minus):
    with pytest.raises(ValueError, match="expected 2 questions"):
        crossed_bootstrap_interval([[0.5, 0.5]], minus=minus, seed=0)
