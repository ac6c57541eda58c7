from dataclasses import replace

import pytest
import torch
from support.helpers import toy_question

from medssr.engines.sampled_answers import SampledAnswer
from medssr.evaluation.letter_likelihood import LIKELIHOOD, letter_logps, likeliest_letter, likelihood_answers, recover

TEN = {letter: f"drug {letter}" for letter in "ABCDEFGHIJ"}
QUESTIONS = [toy_question(0), replace(toy_question(1), options=TEN)]
CONTEXTS = ["Which organ makes insulin? The answer is", "Which gene is at fault? The answer is"]


def test_only_the_question_s_own_letters_are_compared(any_policy):
    found = letter_logps(any_policy, CONTEXTS, QUESTIONS)
    assert [list(row) for row in found] == [["A", "B"], list(TEN)]
    assert all(value < 0 for row in found for value in row.values())


def test_it_is_the_log_likelihood_of_blank_and_letter(any_policy):
    tokenizer = any_policy.tokenizer
    context = "Is it A or B?\n"
    (found,) = letter_logps(any_policy, [context], QUESTIONS[:1])
    start = len(tokenizer(context, add_special_tokens=False)["input_ids"])
    for letter in "AB":
        ids = tokenizer(f"{context} {letter}", add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            logps = torch.log_softmax(any_policy.model(input_ids=torch.tensor([ids])).logits[0].float(), dim=-1)
        expected = sum(float(logps[place - 1, ids[place]]) for place in range(start, len(ids)))
        assert found[letter] == pytest.approx(expected, abs=1e-4)


def test_the_first_of_equal_letters():
    assert likeliest_letter({"A": -1.0, "B": -0.5, "C": -0.5}) == "B"


def test_a_context_that_is_too_long_loses_its_beginning(policy):
    long = "Which organ? " * 400 + CONTEXTS[0]
    (found,) = letter_logps(policy, [long], QUESTIONS[:1])
    assert set(found) == {"A", "B"}


def test_likelihood_answers_generate_nothing(policy):
    rows = likelihood_answers(policy, CONTEXTS, QUESTIONS)
    for (answer,), logps in zip(rows, letter_logps(policy, CONTEXTS, QUESTIONS), strict=True):
        assert (answer.text, answer.num_tokens, answer.reason) == ("", 0, LIKELIHOOD)
        assert answer.letter == max(logps, key=logps.__getitem__)
        assert answer.letter_logps == pytest.approx(logps)


def answered(letter, text="I am not sure."):
    return SampledAnswer(text, 4, False, letter, "no_answer" if letter is None else "answer_phrase")


def test_only_answers_without_a_letter_get_a_second_pass(policy):
    answers = [[answered("A"), answered(None)], [answered(None, "Hm."), answered("J")]]
    found = recover(policy, ["Which?\n", "What?\n"], QUESTIONS, answers, "\n\nThe answer is")
    assert [[item.letter for item in row] for row in found] == [["A", None], [None, "J"]]
    assert [[item.recovered is not None for item in row] for row in found] == [[False, True], [True, False]]
    assert found[0][0] == answers[0][0]
    (expected,) = letter_logps(policy, ["What?\nHm.\n\nThe answer is"], QUESTIONS[1:])
    assert found[1][0].recovered == likeliest_letter(expected)
    assert found[1][0].letter_logps == pytest.approx(expected, abs=1e-4)


def test_nothing_to_recover_asks_nothing(monkeypatch, policy):
    monkeypatch.setattr("medssr.evaluation.letter_likelihood.letter_logps", None)
    answers = [[answered("A")]]
    assert recover(policy, ["Which?\n"], QUESTIONS[:1], answers, " ") == answers
