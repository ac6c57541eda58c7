"""Faults are logged once, and stop a training in which a reward scores nothing."""

from __future__ import annotations

import logging
import math

import pytest

from medssr.errors import InputError
from medssr.rewards.faults import FaultWatch
from medssr.rewards.label_match import LabelMatch
from medssr.rewards.scoring import Fault, FaultKind, RewardResult

IDS = ["q0", "q1", "q2"]
FINE, UNKNOWN = RewardResult(1.0), RewardResult(math.nan)
FAULTY = RewardResult(
    math.nan, Fault(FaultKind.raised, "ValueError: no", "mine.Mine, mine.py, line 7", "Traceback: ...")
)


class Mine:
    weight = 1.0

    def __call__(self, question, completion, choice):
        return None


@pytest.fixture
def watch():
    return FaultWatch({"label": LabelMatch(1.0), "mine": Mine()})


def update(watch, step, *mine, is_last_step=False):
    """A step of three completions that `label` scores, with the results of `mine`."""
    results = mine if len(mine) == 3 else mine * 3
    watch.update(step, IDS, [{"label": FINE, "mine": result} for result in results], is_last_step=is_last_step)


def test_the_first_fault_of_a_kind_is_logged_with_its_question_and_traceback(watch, caplog):
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            update(watch, step, FINE, FAULTY, FAULTY)
    (record,) = caplog.records
    for part in (
        "reward.mine",
        "raised",
        "step 0",
        '"q1"',
        "ValueError",
        "Traceback",
        "train/reward_faults/mine/raised",
    ):
        assert part in record.getMessage()
    with caplog.at_level(logging.WARNING):
        update(watch, 3, FINE, FINE, RewardResult(math.nan, Fault(FaultKind.not_finite, "returned nan")))
    assert len(caplog.records) == 2


def test_a_reward_that_always_fails_stops_the_run_and_the_message_says_where_and_what_to_do(watch):
    for step in range(4):
        update(watch, step, FAULTY)
    with pytest.raises(InputError) as caught:
        update(watch, 4, FAULTY)
    message = str(caught.value)
    for part in (
        "reward.mine: failed for every completion of 5 steps in a row",
        "ValueError: no [raised]",
        "mine.Mine, mine.py, line 7",
        "Mend the class and start the same command again",
    ):
        assert part in message
    assert "reward.label" not in message


def test_a_reward_that_scored_and_then_always_fails_stops_the_run(watch):
    update(watch, 0, FINE)
    for step in range(1, 5):
        update(watch, step, FAULTY)
    with pytest.raises(InputError, match="of 5 steps in a row"):
        update(watch, 5, FAULTY)


def test_one_scored_completion_resets_the_count(watch):
    for step in range(20):
        update(watch, step, FAULTY, FAULTY, FINE if step % 5 == 4 else FAULTY)


@pytest.mark.parametrize("results", [[UNKNOWN], [UNKNOWN, FAULTY, UNKNOWN]])
def test_a_reward_that_scores_nothing_in_the_first_steps_stops_the_run(watch, results):
    for step in range(4):
        update(watch, step, *results)
    with pytest.raises(InputError, match=r"reward\.mine: scored no completion of 5 steps"):
        update(watch, 4, *results)


def test_none_is_no_fault_once_a_completion_was_scored(watch):
    update(watch, 0, UNKNOWN, UNKNOWN, FINE)
    for step in range(1, 20):
        update(watch, step, UNKNOWN, is_last_step=step == 19)


def test_the_message_for_none_names_the_class_and_its_line(watch):
    with pytest.raises(InputError) as caught:
        update(watch, 0, UNKNOWN, is_last_step=True)
    line = Mine.__call__.__code__.co_firstlineno
    assert f"it returned None ({__name__}.Mine, {__file__}, line {line})" in str(caught.value)
    assert "scored no completion of 1 step, " in str(caught.value)


@pytest.mark.parametrize("result", [UNKNOWN, FAULTY])
def test_a_short_training_does_not_end_with_a_reward_that_scored_nothing(watch, result):
    update(watch, 0, result)
    with pytest.raises(InputError, match=r"of 2 steps"):
        update(watch, 1, result, is_last_step=True)


def test_a_training_that_is_resumed_before_its_last_step_counts_on(watch):
    update(watch, 0, FINE)
    resumed = FaultWatch({"label": LabelMatch(1.0), "mine": Mine()})
    resumed.load_state_dict(watch.state_dict())
    update(resumed, 1, UNKNOWN, is_last_step=True)  # the first step scored

    for step in range(1, 5):
        update(watch, step, FAULTY)
    resumed.load_state_dict(watch.state_dict())
    with pytest.raises(InputError, match="of 5 steps"):
        update(resumed, 5, FAULTY)


def test_rewards_that_never_score_the_same_completion_stop_the_run():
    watch = FaultWatch({"first": Mine(), "second": Mine()})
    rows = [{"first": FINE, "second": UNKNOWN}, {"first": UNKNOWN, "second": FINE}]
    for step in range(4):
        watch.update(step, IDS[:2], rows, is_last_step=False)
    with pytest.raises(InputError, match="no completion of 5 steps was scored by all of first, second"):
        watch.update(4, IDS[:2], rows, is_last_step=False)
