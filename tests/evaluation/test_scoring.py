import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.evaluation.scoring import (
    COMMON,
    RARE,
    RARE_ASKED,
    RARE_NEVER_ASKED,
    Prediction,
    sample_accuracy,
    score,
    slice_ids,
)
from medssr.questions import Question
from medssr.statistics import clustered_bootstrap_interval, wilson_interval

OPTIONS = {"A": "liver", "B": "heart", "C": "lung"}


def question(number, answer, is_rare):
    return Question(f"q{number}", f"Which organ is number {number}?", OPTIONS, answer, "toy", is_rare=is_rare)


def prediction(number, letters):
    letters = [None if letter == "-" else letter for letter in letters]
    return Prediction(f"q{number}", letters, ["found"] * len(letters))


QUESTIONS = [
    question(1, "A", True),
    question(2, "B", True),
    question(3, "C", False),
    question(4, "A", None),
]
# mean@4: 1, 1/2, 1/4, 0; the votes: A, tie of A and B, B, none
PREDICTIONS = [prediction(1, "AAAA"), prediction(2, "BBAA"), prediction(3, "CBB-"), prediction(4, "----")]


def test_every_number_by_hand():
    result = score(QUESTIONS, PREDICTIONS)
    assert (result.num_questions, result.num_samples) == (4, 4)
    everything = result.slices["all"]
    assert everything.accuracy.value == pytest.approx(1.75 / 4, abs=1e-6)
    assert everything.accuracy.n == 4
    assert everything.majority_accuracy.value == 0.25  # the tie of q2 and the empty vote of q4 are wrong
    assert (everything.invalid.value, everything.invalid.count, everything.invalid.n) == (0.3125, 5, 16)
    assert (everything.always_a.value, everything.always_a.count, everything.always_a.n) == (0.5, 2, 4)


def test_rare_and_common_are_scored_apart_and_undecided_questions_are_in_neither():
    slices = score(QUESTIONS, PREDICTIONS).slices
    assert slices[RARE].num_questions == 2
    assert slices[RARE].accuracy.value == 0.75
    assert slices[RARE].majority_accuracy.value == 0.5
    assert (slices[RARE].invalid.count, slices[RARE].invalid.n) == (0, 8)
    assert slices[COMMON].num_questions == 1
    assert slices[COMMON].accuracy.value == 0.25
    assert slices["all"].num_questions == 4


def test_extra_slices_ignore_foreign_ids_and_empty_slices_are_left_out():
    extra = {RARE_ASKED: {"q1", "elsewhere"}, RARE_NEVER_ASKED: {"q2"}, "empty": {"elsewhere"}}
    slices = score(QUESTIONS, PREDICTIONS, extra).slices
    assert list(slices) == ["all", RARE, COMMON, RARE_ASKED, RARE_NEVER_ASKED]
    assert slices[RARE_ASKED].accuracy.value == 1.0
    assert slices[RARE_NEVER_ASKED].accuracy.value == 0.5
    assert list(score(QUESTIONS[3:], PREDICTIONS[3:]).slices) == ["all"]


def test_an_extra_slice_cannot_take_a_built_in_name():
    with pytest.raises(ValueError, match="'rare' is taken"):
        score(QUESTIONS, PREDICTIONS, {RARE: {"q1"}})


def test_intervals_are_the_bootstrap_over_questions_and_wilson():
    everything = score(QUESTIONS, PREDICTIONS, seed=3).slices["all"]
    bootstrap = clustered_bootstrap_interval([1, 0.5, 0.25, 0], seed=3)
    wilson = wilson_interval(1, 4)
    assert everything.accuracy.method == "bootstrap"
    assert (everything.accuracy.low, everything.accuracy.high) == pytest.approx((bootstrap.low, bootstrap.high))
    assert everything.majority_accuracy.method == "wilson"
    majority = everything.majority_accuracy
    assert (majority.low, majority.high) == pytest.approx((wilson.low, wilson.high), abs=1e-6)


def test_all_right_still_has_an_interval_with_width():
    questions = [question(number, "A", True) for number in range(10)]
    accuracy = score(questions, [prediction(number, "AA") for number in range(10)]).slices[RARE].accuracy
    assert (accuracy.value, accuracy.high, accuracy.method) == (1.0, 1.0, "wilson")
    assert accuracy.low == pytest.approx(wilson_interval(10, 10).low, abs=1e-6)


def test_a_score_survives_json_unchanged():
    record = dataclasses.asdict(score(QUESTIONS, PREDICTIONS, {RARE_ASKED: {"q1"}}))
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_pass_at_k_and_the_deviation_between_generations_by_hand():
    everything = score(QUESTIONS, PREDICTIONS).slices["all"]
    # right samples of 4: 4, 2, 1, 0; pass@2: 1, 1 - 1/6, 1/2, 0
    assert [found.value for found in everything.pass_at_k] == pytest.approx(
        [1.75 / 4, (1 + 5 / 6 + 1 / 2) / 4, (1 + 1 + 3 / 4) / 4, 3 / 4], abs=1e-6
    )
    # accuracies of the four generations: 3/4, 1/2, 1/4, 1/4 around 7/16: variance (25 + 1 + 9 + 9) / 256 / 4
    assert everything.deviation == pytest.approx((44 / 1024) ** 0.5, abs=1e-6)


def test_a_second_pass_is_scored_beside_the_first():
    first = score(QUESTIONS, PREDICTIONS).slices["all"]
    assert (first.second_pass, first.recovered.count, first.recovered.n) == (None, 0, 16)
    recovered = [
        dataclasses.replace(found, recovered=["A" if letter is None else None for letter in found.letters])
        for found in PREDICTIONS
    ]
    found = score(QUESTIONS, recovered).slices["all"]
    assert (found.accuracy, found.invalid) == (first.accuracy, first.invalid)
    assert (found.recovered.count, found.recovered.n, found.recovered.value) == (5, 16, 0.3125)
    # q4 is right after it: 1, 1/2, 1/4, 1
    assert found.second_pass.accuracy.value == 0.6875
    assert found.second_pass.majority_accuracy.value == 0.5


def test_copies_of_a_question_are_one_cluster():
    questions = [question(number, "AB"[number % 2], True) for number in range(40)]
    found = [prediction(number, "AABA") for number in range(40)]
    copied = [*questions, *(dataclasses.replace(each, id=each.id + " again") for each in questions)]
    again = [*found, *(dataclasses.replace(each, question_id=each.question_id + " again") for each in found)]
    once, twice = score(questions, found).slices["all"], score(copied, again).slices["all"]
    assert (once.num_questions, once.num_distinct) == (40, 40)
    assert (twice.num_questions, twice.num_distinct) == (80, 40)
    assert twice.accuracy == dataclasses.replace(once.accuracy, n=80)
    assert (twice.majority_accuracy.low, twice.majority_accuracy.high) == pytest.approx(
        (once.majority_accuracy.low, once.majority_accuracy.high), abs=0.02
    )


def test_one_question_asked_often_is_no_certainty():
    questions = [dataclasses.replace(QUESTIONS[0], id=f"q{number}") for number in range(30)]
    found = score(questions, [prediction(number, "AABA") for number in range(30)]).slices["all"]
    assert (found.num_questions, found.num_distinct) == (30, 1)
    assert found.accuracy.high - found.accuracy.low > 0.5


def test_calibration_is_that_of_the_majority():
    found = score(QUESTIONS, PREDICTIONS).calibration
    # q1: A by 4 of 4, right; q3: B by 2 of 4, one of them invalid, wrong; a tie and an empty vote have no majority
    assert found.n == 2
    assert [(each.agreement, each.accuracy, each.n) for each in found.bins] == [(0.5, 0.0, 1), (1.0, 1.0, 1)]
    assert found.expected_error == pytest.approx(1 / 4, abs=1e-6)
    assert score(QUESTIONS[:1], [prediction(1, "A")]).calibration is None


def test_the_order_of_predictions_does_not_matter():
    assert score(QUESTIONS, PREDICTIONS) == score(QUESTIONS, PREDICTIONS[::-1]) == score(QUESTIONS, iter(PREDICTIONS))
    assert score(QUESTIONS, PREDICTIONS).slices == score(QUESTIONS[::-1], PREDICTIONS).slices


@pytest.mark.slow
@given(st.lists(st.lists(st.sampled_from(["A", "B", "C", None]), min_size=3, max_size=3), min_size=1, max_size=12))
def test_values_lie_within_their_intervals_and_denominators_add_up(letters):
    questions = [question(number, "A", number % 2 == 0) for number in range(len(letters))]
    predictions = [Prediction(f"q{number}", row, [""] * 3) for number, row in enumerate(letters)]
    slices = score(questions, predictions).slices
    for found in slices.values():
        for estimate in (found.accuracy, found.majority_accuracy):
            assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
            assert estimate.n == found.num_questions
        assert found.invalid.n == 3 * found.num_questions
    halves = [slices[name] for name in (RARE, COMMON) if name in slices]
    assert sum(half.invalid.count for half in halves) == slices["all"].invalid.count


@pytest.mark.parametrize(
    ("questions", "predictions", "message"),
    [
        ([], [], "at least one question"),
        (QUESTIONS, PREDICTIONS[:3], r"missing \['q4'\]"),
        (QUESTIONS[:3], PREDICTIONS, r"unknown \['q4'\]"),
        (QUESTIONS, [*PREDICTIONS, PREDICTIONS[0]], "'q1' has two predictions"),
        (QUESTIONS[:1] * 2, PREDICTIONS[:1], "unique ids"),
        (QUESTIONS[:2], [prediction(1, "A"), prediction(2, "AB")], r"same number of samples .* found \[1, 2\]"),
        ([question(1, None, True)], PREDICTIONS[:1], "without an answer"),
    ],
)
def test_what_does_not_match_is_refused(questions, predictions, message):
    with pytest.raises(ValueError, match=message):
        score(questions, predictions)


@pytest.mark.parametrize(
    ("recovered", "message"), [(["A"], "expected as many"), (["B", None], "samples without a letter alone")]
)
def test_a_second_pass_fills_gaps_alone(recovered, message):
    with pytest.raises(ValueError, match=message):
        Prediction("q1", ["A", None], ["", ""], recovered)


@pytest.mark.parametrize(("letters", "reasons"), [([], []), (["A"], []), (["A"], ["x", "y"])])
def test_a_prediction_has_one_reason_a_letter(letters, reasons):
    with pytest.raises(ValueError, match="one letter and one reason"):
        Prediction("q1", letters, reasons)


def test_sample_accuracy_counts_an_invalid_sample_as_wrong():
    assert sample_accuracy(QUESTIONS[0], prediction(1, "A-B-")) == 0.25


def test_slice_ids_without_questions_of_a_kind():
    assert slice_ids(QUESTIONS[2:3]) == {"all": {"q3"}, COMMON: {"q3"}}
