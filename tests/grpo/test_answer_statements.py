"""Which tokens of a completion state its answer."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.answers import extract_choice
from medssr.grpo.answer_statements import answer_statements

DRUGS = {"A": "Aspirin", "B": "Warfarin", "C": "Heparin", "D": "Vitamin K"}
TALK = " The patient has a fever and a rash, and the kidney is inflamed; blood pressure is normal."
_TOKEN = re.compile(r"\s*[A-Za-z]+|\s*[^A-Za-z\s]|\s+")


def words(text):
    """Tokens: a word or a sign with the space before it."""
    return _TOKEN.findall(text)


def stated(text, cost=None):
    """The texts of the statements of the answer, the last first; adds the tokens of each reading to `cost`."""
    tokens = words(text)
    assert "".join(tokens) == text

    def reads(ids):
        if cost is not None:
            cost.append(len(ids))
        return extract_choice("".join(ids), DRUGS).letter

    found = answer_statements(tokens, extract_choice(text, DRUGS).letter, reads)
    return ["".join(tokens[part.start : part.stop]).strip() for part in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("So the answer is B.", ["B"]),
        ("She needs anticoagulation. The answer is **B. Warfarin**.", ["B. Warfarin"]),
        ("I would choose vitamin K.", ["vitamin K"]),
        ("The answer is warfarin (B).", ["answer is warfarin (B"]),
        # An answer that is stated early keeps what is written after it.
        ("The answer is B." + TALK * 3, ["B"]),
        ("The answer is B." + TALK * 3 + " So, the answer is B.", ["B", "B"]),
        # Another letter, and one that was taken back, are no statements of the answer.
        ("At first A seems right. The answer is A. No, wait, it is C.", ["C"]),
        ("<think>The answer is B, I suppose.</think>" + TALK + " The answer is B.", ["B"]),
    ],
)
def test_the_statements_of_an_answer_by_hand(text, expected):
    assert stated(text) == expected


def test_an_answer_at_the_end_takes_few_readings_and_one_of_the_whole():
    cost = []
    text = TALK * 40 + " The answer is B."
    stated(text, cost)
    assert len(cost) <= 8
    assert sum(cost) <= len(words(text)) + 20


def test_a_text_that_repeats_its_answer_on_and_on_is_read_a_bounded_number_of_times():
    cost = []
    text = "The answer is B." * 300
    assert stated(text, cost)[-1].startswith("The answer is B.")
    assert len(cost) < 600


@pytest.mark.slow
@given(st.lists(st.sampled_from([0, 1]), min_size=1, max_size=60).filter(any))
def test_all_tokens_that_read_as_the_answer_are_found(flags):
    """Token 1 states the answer, whatever stands around it."""
    found = answer_statements(flags, "B", lambda ids: "B" if 1 in ids else None)
    covered = {index for part in found for index in part}
    assert {index for index, flag in enumerate(flags) if flag} <= covered
    assert len(covered) == sum(map(len, found))  # the statements are disjoint
    assert list(found) == sorted(found, key=lambda part: -part.start)
    if sum(flags) < 16:
        assert all(flags[part.start] and flags[part.stop - 1] for part in found)
