import numpy as np
import pytest

from medssr.statistics import clustered_bootstrap_interval, crossed_bootstrap_interval


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
