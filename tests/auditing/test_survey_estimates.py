from __future__ import annotations

import pytest

from medssr.auditing.stratified_sample import SampledQuestion
from medssr.auditing.survey_estimates import estimate_mean, estimate_rate
from medssr.questions import Question


def sample(**strata: tuple[int, int]) -> list[SampledQuestion]:
    """Returns sampled questions for (number in the sample, number in the file) by stratum, with ids such as "rare0"."""
    return [
        SampledQuestion(Question(f"{name}{n}", "?", {"A": "x", "B": "y"}, None, "toy"), name, size)
        for name, (count, size) in strata.items()
        for n in range(count)
    ]


def flags(items, *flagged):
    return {item.question.id: item.question.id in flagged for item in items}


def test_one_error_in_two_hundred():
    items = sample(all=(200, 43_000))
    rate = estimate_rate(items, flags(items, "all0"))
    for figure in (rate.sample, rate.population):
        assert figure.value == pytest.approx(0.005)
        assert 100 * figure.low == pytest.approx(0.09, abs=0.005)
        assert 100 * figure.high == pytest.approx(2.78, abs=0.005)
    assert (rate.n, rate.count, rate.covered_share) == (200, 1, 1.0)
    assert rate.effective_n == pytest.approx(200)


def test_the_rate_of_the_file_weighs_strata_by_their_size():
    # 2 of 10 in a stratum of 100, 1 of 20 in one of 900: (20 + 45) / 1000.
    items = sample(rare=(10, 100), general=(20, 900))
    rate = estimate_rate(items, flags(items, "rare0", "rare1", "general0"))
    assert rate.sample.value == pytest.approx(0.1)
    assert rate.population.value == pytest.approx(0.065)
    # Weights 10 (ten times) and 45 (twenty times): 1000^2 / (10 * 100 + 20 * 2025).
    assert rate.effective_n == pytest.approx(1_000_000 / 41_500)
    assert rate.population.low < 0.065 < rate.population.high


def test_a_partial_rating_weighs_what_was_rated_and_says_what_it_covers():
    items = sample(rare=(10, 100), general=(20, 900), unknown=(5, 1000))
    rated = {"rare0": True, "rare1": False, "general0": False}
    rate = estimate_rate(items, rated)
    assert (rate.n, rate.count) == (3, 1)
    assert rate.population.value == pytest.approx(50 / 1000)
    assert rate.covered_share == 0.5


@pytest.mark.parametrize("is_flagged", [True, False])
def test_rates_of_none_and_all_stay_between_zero_and_one(is_flagged):
    items = sample(a=(3, 7), b=(1, 11), c=(5, 13))
    rate = estimate_rate(items, dict.fromkeys(flags(items), is_flagged))
    for figure in (rate.sample, rate.population):
        assert 0 <= figure.low <= figure.value <= figure.high <= 1
        assert figure.value == is_flagged


def test_means_by_hand():
    items = sample(rare=(2, 10), general=(2, 90))
    scores = {"rare0": 1.0, "rare1": 3.0, "general0": 5.0, "general1": 5.0}
    mean = estimate_mean(items, scores, seed=1)
    assert mean.sample.value == 3.5
    assert mean.population.value == pytest.approx((10 * 2 + 90 * 5) / 100)
    assert mean.count is None
    assert 1 <= mean.population.low < mean.population.value <= mean.population.high <= 5
    assert mean == estimate_mean(items[::-1], scores, seed=1)


def test_the_interval_of_a_mean_with_equal_weights_is_that_of_the_sample():
    items = sample(all=(50, 5000))
    mean = estimate_mean(items, {item.question.id: float(n % 5) for n, item in enumerate(items)}, seed=1)
    assert (mean.population.low, mean.population.high) == pytest.approx((mean.sample.low, mean.sample.high))


def test_a_mean_of_one_question_has_no_width():
    items = sample(all=(1, 10))
    mean = estimate_mean(items, {"all0": 4.0}, seed=1)
    assert (mean.sample.low, mean.sample.high) == (4.0, 4.0)
