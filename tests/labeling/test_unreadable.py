from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.labeling.unreadable import UnreadableAnswers, visible


@dataclass(frozen=True)
class Answer:
    text: str
    letter: str | None
    is_truncated: bool = False


READ = Answer("The answer is B.", "B")
CUT = Answer("The patient presents", None, is_truncated=True)
VAGUE = Answer("I am not sure.\x1b[0m", None)


def counted(*questions, max_new_tokens=13):
    unreadable = UnreadableAnswers(max_new_tokens)
    for answers in questions:
        unreadable.add(answers)
    return unreadable


def test_counts_by_hand():
    unreadable = counted([READ, CUT, CUT, VAGUE], [READ, READ, READ, VAGUE])
    assert (unreadable.num_answers, unreadable.num_unreadable, unreadable.num_truncated) == (8, 4, 2)
    assert unreadable.valid_share == 0.5


def test_half_of_the_answers_are_not_most():
    assert counted([READ, CUT]).warning() is None
    assert counted([READ, CUT], [CUT]).warning() is not None
    assert counted().warning() is None


def test_truncated_answers_need_more_tokens():
    warning = counted([CUT, CUT, VAGUE, READ]).warning()
    assert warning.splitlines() == [
        "MOST ANSWERS HAVE NO LETTER: 3 of 4 (75.0%). For example:",
        '  1. "The patient presents" (truncated)',
        "2 of these 3 answers were truncated: raise labeling.max_new_tokens (now 13).",
    ]


def test_complete_answers_need_another_prompt():
    warning = counted([VAGUE], [VAGUE, CUT], [VAGUE], [VAGUE]).warning()
    assert "max_new_tokens" not in warning
    assert "model.prompt_path" in warning
    assert "chat template" in warning


def test_three_examples_of_three_questions_with_visible_control_characters():
    lines = counted([CUT, VAGUE], [READ, VAGUE], [VAGUE], [CUT]).warning().splitlines()
    assert lines[1:-1] == [
        '  1. "The patient presents" (truncated)',
        '  2. "I am not sure.\\x1b[0m" (complete)',
        '  3. "I am not sure.\\x1b[0m" (complete)',
    ]


@pytest.mark.parametrize("num_questions", [11, 12])
def test_the_warning_during_a_run_waits_for_48_answers(num_questions):
    assert counted(*[[CUT] * 4] * num_questions).is_certain == (num_questions == 12)


def test_a_long_example_shows_its_beginning_and_its_end():
    shown = visible("a" * 500 + "b" * 500)
    assert shown == f'"{"a" * 160} ... {"b" * 80}"'


@given(st.text(alphabet=st.characters(), max_size=400))
def test_an_example_is_one_printable_line_of_limited_length(text):
    shown = visible(text)
    assert shown.isprintable()
    assert len(shown) <= 10 * 250
