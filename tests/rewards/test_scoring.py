"""Faults are counted and logged once, and stop a run only if a reward always fails."""

from __future__ import annotations

import logging
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.helpers import completion, toy_question

from medssr.answers import Choice
from medssr.errors import InputError
from medssr.grpo.step_rewards import weighted_sum
from medssr.rewards.scoring import Fault, FaultKind, FaultWatch, RewardResult, ScoredInput, result_of, score_inputs

INPUTS = [ScoredInput(toy_question(number), completion(), Choice("A", "")) for number in range(3)]
FINE, FAULTY = RewardResult(1.0), RewardResult(math.nan, Fault(FaultKind.raised, "Traceback: ValueError"))


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


def test_the_first_fault_of_a_kind_is_logged_with_its_question_and_traceback(caplog):
    fault_watch = FaultWatch()
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            fault_watch.update(step, INPUTS, [{"mine": FINE}, {"mine": FAULTY}, {"mine": FAULTY}])
    (record,) = caplog.records
    for part in ("reward.mine", "raised", "step 0", '"q1"', "ValueError", "train/reward_faults/mine/raised"):
        assert part in record.getMessage()
    another_kind = RewardResult(math.nan, Fault(FaultKind.not_finite, "returned nan"))
    with caplog.at_level(logging.WARNING):
        fault_watch.update(3, INPUTS, [{"mine": FINE}, {"mine": FINE}, {"mine": another_kind}])
    assert len(caplog.records) == 2


def test_a_reward_that_always_fails_stops_the_run():
    fault_watch = FaultWatch()
    rows = [{"fine": FINE, "mine": FAULTY}] * 3
    for step in range(4):
        fault_watch.update(step, INPUTS, rows)
    with pytest.raises(InputError, match=r"reward\.mine.*5 steps in a row") as caught:
        fault_watch.update(4, INPUTS, rows)
    assert "ValueError" in str(caught.value)
    assert "reward.fine" not in str(caught.value)


def test_one_scored_completion_resets_the_count():
    fault_watch = FaultWatch()
    for step in range(20):
        fault_watch.update(
            step, INPUTS, [{"mine": FAULTY}, {"mine": FAULTY}, {"mine": FINE if step % 5 == 4 else FAULTY}]
        )


def test_a_reward_that_always_returns_none_is_no_fault():
    fault_watch = FaultWatch()
    for step in range(20):
        fault_watch.update(step, INPUTS, [{"mine": RewardResult(math.nan)}] * 3)
