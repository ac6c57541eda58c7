"""Tests which answers of a vote become demonstrations."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.helpers import toy_question

from medssr.engines.sampled_answers import SampledAnswer, answers_in_chunks
from medssr.errors import InputError
from medssr.questions import write_questions
from medssr.training.majority_answers import MajorityAnswers
from medssr.utils.progress import Progress

QUESTIONS = [toy_question(number, answer=None) for number in range(3)]


def answer(text, letter, is_truncated=False):
    return SampledAnswer(text, 3, is_truncated, letter, "answer_phrase")


ANSWERS = [
    [answer("It is A.", "A"), answer("B.", "B"), answer("A, surely.", "A"), answer("It is A.", "A")],
    [answer("B.", "B"), answer("A or so", "A", is_truncated=True), answer("?", None), answer("B!", "B")],
    [answer("A.", "A"), answer("B.", "B"), answer("A.", "A"), answer("B.", "B")],  # tied, so that it has no label
]


@pytest.fixture
def voted(tmp_path):
    """The folder of a vote that labelled the first question A and the second B."""
    labelled = [replace(question, answer=label) for question, label in zip(QUESTIONS, "AB", strict=False)]
    write_questions(tmp_path / "questions.jsonl", labelled)
    made = answers_in_chunks(
        QUESTIONS,
        tmp_path / "answers",
        2,
        Progress("votes", None, "completions"),
        lambda chunks: ((index, ANSWERS[index]) for chunk in chunks for index in chunk),
    )
    assert len(list(made)) == 3
    return tmp_path


def test_answers_that_gave_the_label_are_imitated_each_text_once(voted):
    drawn = MajorityAnswers(voted, None).draw(seed=1)
    assert [(each.asked.id, each.completion) for each in drawn] == [
        ("q0", "It is A."), ("q0", "A, surely."), ("q1", "B."), ("q1", "B!"),
    ]  # fmt: skip


def test_a_limit_draws_some_of_each_question_by_the_seed(voted):
    first, again = (MajorityAnswers(voted, 1).draw(seed=1) for _ in range(2))
    assert first == again
    assert [each.asked.id for each in first] == ["q0", "q1"]
    drawn = {each.completion for seed in range(20) for each in MajorityAnswers(voted, 1).draw(seed)}
    assert drawn == {"It is A.", "A, surely.", "B.", "B!"}


def test_faults_are_named(voted, tmp_path):
    with pytest.raises(InputError, match="max_per_question: 0; at least 1"):
        MajorityAnswers(voted, 0)
    chunk = voted / "answers" / "0000000.jsonl"
    chunk.write_text(chunk.read_text().replace("It is A.", "It is B."))
    with pytest.raises(InputError, match="not as it was written"):
        MajorityAnswers(voted, None).draw(seed=1)
    for file in (voted / "answers").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="holds no answers"):
        MajorityAnswers(voted, None).draw(seed=1)
