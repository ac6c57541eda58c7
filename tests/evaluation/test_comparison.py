import dataclasses

import pytest
from support.helpers import toy_question

from medssr.evaluation.comparison import Comparison, compare, corrected
from medssr.evaluation.scoring import COMMON, RARE, RARE_ASKED, Prediction
from medssr.statistics import mcnemar_p_value, sign_flip_p_value


def prediction(number, letters):
    return Prediction(f"q{number}", [None if letter == "-" else letter for letter in letters], [""] * len(letters))


QUESTIONS = [
    toy_question(1, "A", is_rare=True),
    toy_question(2, "B", is_rare=True),
    toy_question(3, "B", is_rare=False),
    toy_question(4, "A"),
]
BEFORE = [prediction(1, "AAAA"), prediction(2, "BBAA"), prediction(3, "BAA-"), prediction(4, "----")]
AFTER = [prediction(1, "AAAA"), prediction(2, "BBBB"), prediction(3, "AAAA"), prediction(4, "AAAA")]


def test_differences_by_slice_by_hand():
    found = compare(QUESTIONS, BEFORE, AFTER, {RARE_ASKED: {"q2"}})
    assert {name: each.difference for name, each in found.items()} == {
        "all": 0.3125,  # (0 + 1/2 - 1/4 + 1) / 4
        RARE: 0.25,
        COMMON: -0.25,
        RARE_ASKED: 0.5,
    }
    assert [each.n for each in found.values()] == [4, 2, 1, 1]
    assert all(each.low <= each.difference <= each.high for each in found.values())


def test_tests_by_hand():
    found = compare(QUESTIONS, BEFORE, AFTER)["all"]
    assert found.p_value == sign_flip_p_value([0, 2, -1, 4])
    assert (found.num_won, found.num_lost) == (2, 0)  # q2 was a tie, q4 had no answer; q3 was wrong before and is now
    assert found.mcnemar_p_value == mcnemar_p_value(0, 2)


def test_two_numbers_of_samples_are_compared_by_their_shares():
    once = [prediction(1, "A"), prediction(2, "A"), prediction(3, "A"), prediction(4, "A")]
    found = compare(QUESTIONS, BEFORE, once)["all"]
    assert found.difference == pytest.approx((0 - 1 / 2 - 1 / 4 + 1) / 4, abs=1e-6)
    assert found.p_value == sign_flip_p_value([0, -2, -1, 4])


def test_the_copy_of_a_question_is_no_second_win():
    copy = dataclasses.replace(QUESTIONS[3], id="q5")
    once = compare(QUESTIONS, BEFORE, AFTER)["all"]
    twice = compare([*QUESTIONS, copy], [*BEFORE, prediction(5, "----")], [*AFTER, prediction(5, "AAAA")])["all"]
    assert (twice.num_won, twice.num_lost) == (once.num_won, once.num_lost)
    assert twice.p_value == once.p_value  # one gain of 8 in place of one of 4, beside 2 and -1
    assert twice.n == 5


def test_p_values_are_corrected_over_benchmarks_slice_by_slice():
    def comparison(p):
        return Comparison(0.1, 0.0, 0.2, 50, p, 9, 2, p / 2)

    found = corrected(
        {
            "medqa": {"all": comparison(0.01), RARE: comparison(0.04)},
            "nejm": {"all": comparison(0.03)},
            "lancet": {"all": comparison(0.9)},
        }
    )
    assert {name: slices["all"].p_adjusted for name, slices in found.items()} == pytest.approx(
        {"medqa": 0.03, "nejm": 0.06, "lancet": 0.9}
    )
    assert found["medqa"]["all"].mcnemar_p_adjusted == pytest.approx(0.015)
    assert found["medqa"][RARE].p_adjusted == 0.04
    assert found["medqa"]["all"].p_value == 0.01


def test_equal_answers_differ_by_nothing():
    found = compare(QUESTIONS, BEFORE, BEFORE)["all"]
    assert (found.difference, found.low, found.high, found.p_value, found.mcnemar_p_value) == (0, 0, 0, 1, 1)


def test_answers_to_other_questions_are_refused():
    with pytest.raises(ValueError, match="do not match"):
        compare(QUESTIONS, BEFORE, AFTER[:3])
