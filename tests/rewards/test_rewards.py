import math

import pytest
from support.helpers import completion, toy_question

from medssr.answers import Choice, extract_choice
from medssr.grpo.advantages import weighted_sum
from medssr.rewards.answer_format import AnswerFormat
from medssr.rewards.cosine_length import CosineLength
from medssr.rewards.label_match import LabelMatch
from medssr.rewards.scoring import ScoredInput, StepScoring

RIGHT, WRONG, INVALID = (Choice(letter, "answer_phrase") for letter in ("A", "B", None))


@pytest.mark.parametrize(
    ("choice", "is_truncated", "label_reward", "format_reward"),
    [
        (RIGHT, False, 1.0, 1.0),
        (WRONG, False, 0.0, 1.0),
        (INVALID, False, 0.0, 0.0),
        (RIGHT, True, 0.0, 0.0),
        (WRONG, True, 0.0, 0.0),
        (INVALID, True, 0.0, 0.0),
    ],
)
def test_every_case(choice, is_truncated, label_reward, format_reward):
    question, item = toy_question(answer="A"), completion(is_truncated=is_truncated)
    assert LabelMatch(weight=1.0)(question, item, choice) == label_reward
    assert AnswerFormat(weight=1.0)(question, item, choice) == format_reward


def test_the_label_decides_and_not_the_first_option():
    assert LabelMatch(1.0)(toy_question(answer="B"), completion(), WRONG) == 1.0


def test_a_question_without_label_has_no_label_reward():
    with pytest.raises(AssertionError, match="q0"):
        LabelMatch(1.0)(toy_question(answer=None), completion(), RIGHT)
    assert AnswerFormat(1.0)(toy_question(answer=None), completion(), RIGHT) == 1.0


@pytest.mark.parametrize(("choice", "expected"), [(RIGHT, 2 * 1 + 0.1 * 1), (WRONG, 2 * 0 + 0.1 * 1), (INVALID, 0.0)])
def test_the_total_is_the_weighted_sum(choice, expected):
    rewards = {"label": LabelMatch(weight=2.0), "format": AnswerFormat(weight=0.1)}
    scoring = StepScoring(rewards)
    scoring.add(0, ScoredInput(toy_question(answer="A"), completion(), choice))
    (results,) = scoring.results()
    assert weighted_sum(rewards, results) == pytest.approx(expected)


def test_no_rewards_sum_to_nothing():
    scoring = StepScoring({})
    scoring.add(0, ScoredInput(toy_question(), completion(), RIGHT))
    assert scoring.results() == [{}]
    assert weighted_sum({}, {}) == 0


@pytest.mark.parametrize(("text", "expected"), [("The answer is A.", 1.0), ("The answer is B.", 0.0), ("Hm.", 0.0)])
def test_from_text_to_reward(text, expected):
    question = toy_question(answer="A")
    choice = extract_choice(text, question.options)
    assert LabelMatch(1.0)(question, completion(text=text), choice) == expected


@pytest.mark.parametrize(
    ("choice", "num_tokens", "expected"),
    [
        (RIGHT, 1, math.cos(math.pi / 40) ** 2),  # (1 + cos(pi / 20)) / 2
        (RIGHT, 5, (1 + math.sqrt(0.5)) / 2),
        (RIGHT, 10, 0.5),
        (RIGHT, 20, 0.0),
        (WRONG, 5, -(1 + math.sqrt(0.5)) / 2),
        (WRONG, 10, -0.5),
        (WRONG, 20, 0.0),
        (INVALID, 10, -0.5),
        (RIGHT, 30, 0.0),
    ],
)
def test_right_answers_are_best_brief_and_wrong_ones_long(choice, num_tokens, expected):
    reward = CosineLength(weight=0.1, max_tokens=20)
    item = completion([7] * num_tokens)
    assert reward(toy_question(answer="A"), item, choice) == pytest.approx(expected)


def test_a_cut_completion_gets_the_least_for_its_length():
    item = completion([7] * 20, is_truncated=True)
    assert CosineLength(weight=0.1, max_tokens=20)(toy_question(answer="A"), item, RIGHT) == -1


def test_the_hidden_truth_changes_no_reward():
    for reward in (LabelMatch(1.0), AnswerFormat(1.0), CosineLength(1.0, 20)):
        for choice in (RIGHT, WRONG, INVALID):
            rewards_by_length = [
                reward(toy_question(answer="A", provenance=provenance), completion(), choice)
                for provenance in ({}, {"truth": "A"}, {"truth": "B"})
            ]
            assert rewards_by_length[0] == rewards_by_length[1] == rewards_by_length[2]
