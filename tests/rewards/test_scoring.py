"""A reward that fails leaves a fault in place of a number, and the other rewards theirs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.helpers import completion, toy_question

from medssr.answers import Choice
from medssr.grpo.advantages import weighted_sum
from medssr.rewards.scoring import FaultKind, RewardResult, ScoredInput, StepScoring, result_of

INPUTS = [ScoredInput(toy_question(number), completion(), Choice("A", "")) for number in range(3)]


def score_inputs(rewards, inputs, order=None):
    scoring = StepScoring(rewards)
    for index in order or range(len(inputs)):
        scoring.add(index, inputs[index])
    return scoring.results()


class FailsFor:
    weight = 2.0

    def __init__(self, *question_ids):
        self._question_ids = question_ids

    def __call__(self, question, completion, choice):
        if question.id in self._question_ids:
            raise ValueError(question.id)
        return 0.5


@given(st.one_of(st.floats(), st.integers(), st.booleans(), st.none(), st.text(), st.lists(st.floats())))
def test_a_result_is_a_bounded_number_or_nan(returned):
    result = result_of(returned)
    assert math.isnan(result.value) or abs(result.value) <= 1e9
    assert math.isnan(result.value) == (result.fault is not None or returned is None)


def test_a_reward_that_raises_leaves_the_other_completions_their_rewards():
    rewards = {"some": FailsFor("q1"), "none": FailsFor()}
    results = score_inputs(rewards, INPUTS)
    assert [weighted_sum(rewards, row) for row in results] == [2.0, pytest.approx(math.nan, nan_ok=True), 2.0]
    fault = results[1]["some"].fault
    assert fault.kind is FaultKind.raised
    assert "ValueError: q1" in fault.detail
    assert results[1]["none"] == RewardResult(0.5)


def test_a_fault_names_the_line_of_the_reward_and_not_that_of_the_library_that_it_calls():
    class CallsALibrary:
        weight = 1.0

        def __call__(self, question, completion, choice):
            return json.loads(completion.text)  # an empty text is no JSON

    (result,) = score_inputs({"mine": CallsALibrary()}, INPUTS[:1])
    fault = result["mine"].fault
    line = 1 + Path(__file__).read_text().splitlines().index(
        "            return json.loads(completion.text)  # an empty text is no JSON"
    )
    assert fault.cause.startswith("json.decoder.JSONDecodeError: Expecting value")
    assert fault.location.endswith(f"CallsALibrary, {__file__}, line {line}")


def test_the_message_of_an_exception_is_cut():
    class Talkative:
        weight = 1.0

        def __call__(self, question, completion, choice):
            raise ValueError("x" * 10**6)

    (result,) = score_inputs({"mine": Talkative()}, INPUTS[:1])
    assert len(result["mine"].fault.detail) < 30_000


def test_completions_that_arrive_in_another_order_have_the_same_results():
    rewards = {"some": FailsFor("q1"), "none": FailsFor()}
    values = [[row[name].value for name in row] for row in score_inputs(rewards, INPUTS, order=[2, 0, 1])]
    assert values == [[0.5, 0.5], [pytest.approx(math.nan, nan_ok=True), 0.5], [0.5, 0.5]]


def test_a_question_has_the_rewards_of_its_source_alone():
    scoring = StepScoring(
        {"one": FailsFor(), "other": FailsFor()}, lambda question, name: name + question.id != "oneq1"
    )
    for index, item in enumerate(INPUTS):
        scoring.add(index, item)
    assert [list(row) for row in scoring.results()] == [["one", "other"], ["other"], ["one", "other"]]
