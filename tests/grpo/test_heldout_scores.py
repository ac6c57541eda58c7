from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.helpers import MixedEngine, random_policy, toy_question

from medssr.config import KeptModel, ProbeConfig
from medssr.errors import InputError
from medssr.grpo.heldout import HeldoutHistory, HeldoutScore, heldout_questions, remove_heldout, score_heldout
from medssr.questions import Question, write_questions
from medssr.questions.option_order import shuffle_options


def config(**values):
    defaults = {"path": "", "num_questions": None, "every_num_steps": 1, "patience": 2, "min_steps": 0}
    return ProbeConfig(**(defaults | {"keep": KeptModel.best} | values))


@pytest.mark.parametrize(
    ("field", "value"), [("num_questions", 0), ("every_num_steps", 0), ("patience", 0), ("min_steps", -1)]
)
def test_a_value_out_of_range_names_its_field(field, value):
    with pytest.raises(InputError, match=rf"probe\.{field}: {value}"):
        config(**{field: value})


def test_questions_are_drawn_by_the_seed_and_stay_in_order(tmp_path):
    path = tmp_path / "probe.jsonl"
    write_questions(path, [toy_question(number) for number in range(30)])
    drawn = heldout_questions(config(path=str(path), num_questions=5), seed=1)
    numbers = [int(question.id[1:]) for question in drawn]
    assert len(set(numbers)) == 5
    assert numbers == sorted(numbers)
    assert drawn == heldout_questions(config(path=str(path), num_questions=5), seed=1)
    assert drawn != heldout_questions(config(path=str(path), num_questions=5), seed=2)
    for number in (None, 30, 99):
        assert len(heldout_questions(config(path=str(path), num_questions=number), seed=1)) == 30


def test_heldout_questions_need_answers(tmp_path):
    write_questions(tmp_path / "probe.jsonl", [toy_question(answer=None)])
    with pytest.raises(InputError, match="answer"):
        heldout_questions(config(path=str(tmp_path / "probe.jsonl")), seed=1)


def test_heldout_questions_are_removed_whatever_their_id():
    questions = [toy_question(number) for number in range(4)]
    other_name = Question("x", "which ORGAN is number 2", {"A": "heart", "B": "Liver"}, "B", "other")
    assert remove_heldout(questions, [questions[0], shuffle_options(questions[1], 3), other_name]) == [questions[3]]
    assert remove_heldout(questions, []) == questions


def test_a_score_by_hand():
    engine = MixedEngine(random_policy("qwen3"))
    first = score_heldout(engine, [toy_question(0, "A"), toy_question(1, "B")], [[1], [2]], max_new_tokens=4)
    assert first == HeldoutScore(num_questions=2, num_right=1, num_invalid=0)
    metrics = HeldoutScore(num_questions=10, num_right=8, num_invalid=1).metrics()
    assert metrics == {
        "val/probe/accuracy": 0.8,
        "val/probe/accuracy_low": pytest.approx(0.4902, abs=1e-4),
        "val/probe/accuracy_high": pytest.approx(0.9433, abs=1e-4),
        "val/probe/invalid_share": 0.1,
        "val/probe/num_questions": 10,
    }


def history(*accuracies):
    scores = HeldoutHistory()
    for index, accuracy in enumerate(accuracies):
        scores.add(10 * index, accuracy)
    return scores


def test_the_best_is_the_first_of_the_highest():
    scores = history(0.5, 0.7, 0.6, 0.7)
    assert (scores.start, scores.best, scores.best_step, scores.num_since_best) == (0.5, 0.7, 10, 2)


@pytest.mark.slow
@given(st.lists(st.floats(0, 1), min_size=1))
def test_the_history_agrees_with_the_list_of_all_scores(accuracies):
    scores = history(*accuracies)
    assert scores.best == max(accuracies)
    assert scores.best_step == 10 * accuracies.index(max(accuracies))
    assert scores.num_since_best == len(accuracies) - 1 - accuracies.index(max(accuracies))


def test_patience_and_min_steps_decide_when_training_stops():
    no_better = history(0.5, 0.4, 0.4)
    assert no_better.is_exhausted(config(patience=2), num_done=20)
    assert not no_better.is_exhausted(config(patience=3), num_done=20)
    assert not no_better.is_exhausted(config(patience=2, min_steps=21), num_done=20)
    assert not no_better.is_exhausted(config(patience=None), num_done=20)
