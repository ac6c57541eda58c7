from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.helpers import toy_question

from medssr.engines.sampled_answers import SampledAnswer
from medssr.evaluation.option_permutations import option_orders, order_score, permuted_questions, released_letters
from medssr.evaluation.scoring import Rate

FOUR = replace(toy_question(), options={"A": "liver", "B": "heart", "C": "lung", "D": "skin"}, answer="C")
FIXED = replace(FOUR, id="fixed", options=FOUR.options | {"D": "all of the above"})


def answer(letter, **fields):
    return SampledAnswer("", 1, False, letter, "", **fields)


@pytest.mark.slow
@given(st.integers(1, 30), st.integers(0, 100), st.integers(2, 10))
def test_orders_are_permutations_and_differ_while_they_can(num_orders, seed, num_options):
    letters = "ABCDEFGHIJ"[:num_options]
    question = replace(FOUR, options={letter: letter for letter in letters}, answer="A")
    orders = option_orders(question, num_orders, seed)
    assert len(orders) == num_orders
    assert orders[0] == letters
    assert all(sorted(order) == list(letters) for order in orders)
    distinct = min(num_orders, 2 if num_options == 2 else 6 if num_options == 3 else num_orders)
    assert len(set(orders)) >= min(distinct, 24)


def test_orders_follow_from_seed_and_question():
    assert option_orders(FOUR, 4, 1) == option_orders(FOUR, 4, 1)
    assert option_orders(FOUR, 4, 1) != option_orders(FOUR, 4, 2)
    assert option_orders(FOUR, 4, 1) != option_orders(replace(FOUR, id="other"), 4, 1)
    assert option_orders(FOUR, 5, 1)[:4] == option_orders(FOUR, 4, 1)


def test_options_about_options_stay_where_they_are():
    assert option_orders(FIXED, 3, 0) == ["ABCD"] * 3
    for text in ("(a) & (b)", "Only B", "Either A or C", "A only"):
        assert option_orders(replace(FOUR, options=FOUR.options | {"D": text}), 3, 0) == ["ABCD"] * 3
    assert option_orders(replace(FOUR, stem="Why is option B wrong?"), 3, 0) == ["ABCD"] * 3
    assert len(set(option_orders(FOUR, 3, 0))) == 3


def test_a_reordered_question_and_the_way_back():
    shown = permuted_questions(FOUR, ["ABCD", "BACD", "CADB"])[2]
    assert shown.id == "q0#2"
    assert shown.options == {"A": "lung", "B": "liver", "C": "skin", "D": "heart"}
    assert shown.answer == "A"
    found = released_letters(answer("A", recovered="B", letter_logps={"A": -1.0, "D": -2.0}), FOUR, "CADB")
    assert (found.letter, found.recovered, found.letter_logps) == ("C", "A", {"C": -1.0, "B": -2.0})
    assert released_letters(answer(None), FOUR, "CADB").letter is None


def test_the_first_order_is_the_released_question():
    assert permuted_questions(FOUR, ["ABCD"]) == [FOUR]
    assert permuted_questions(replace(FOUR, answer=None), ["ABCD", "BACD"])[1].answer is None


@given(st.permutations("ABCD"))
def test_the_gold_option_keeps_its_text(order):
    shown = permuted_questions(FOUR, ["ABCD", "".join(order)])[1]
    assert shown.options[shown.answer] == "lung"
    assert released_letters(answer(shown.answer), FOUR, "".join(order)).letter == "C"


def test_the_score_by_hand():
    questions = [FOUR, replace(FOUR, id="q1"), replace(FOUR, id="q2"), FIXED]
    # Two orders of two samples each: C is right.
    rows = ["CCCC", "CCAA", "C-C-", "AAAA"]
    answers = [[answer(None if letter == "-" else letter) for letter in row] for row in rows]
    found = order_score(questions, answers, 2)
    assert (found.num_orders, found.num_fixed) == (2, 1)
    assert found.accuracy_by_order == [pytest.approx(5 / 8), pytest.approx(3 / 8)]
    assert found.consistent == Rate(pytest.approx(2 / 3, abs=1e-6), 2, 3)
    nothing = order_score(questions[:1], [[answer(None)] * 2], 2)
    assert nothing.consistent == Rate(0.0, 0, 1)
    assert order_score([FIXED], [[answer("A")] * 2], 2).consistent == Rate(0.0, 0, 0)
