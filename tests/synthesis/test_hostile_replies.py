"""A reply of a model is a question or a ReplyError, in a time that grows with its length and no faster."""

from __future__ import annotations

import json

import pytest

from medssr.synthesis import replies
from medssr.synthesis.replies import ReplyError, parse_reply

GOOD = '{"question": "Which organ?", "options": {"A": "liver", "B": "heart"}}'


@pytest.mark.parametrize(
    "text",
    [
        '{"question": ' + "9" * 10_000 + "}",
        '{"question": ' + "[" * 100_000,
        '{"question":' * 10_000,
        "{" * 100_000,
        '{"question": "\\ud800", "options": {"A": "x", "B": "y"}}',
        '{"question": "q", "options": ["x", "y"]}',
        "",
    ],
)
def test_what_cannot_be_read_says_so_and_what_comes_behind_it_is_read(text):
    with pytest.raises(ReplyError):
        parse_reply(text)
    if len(text) < 50_000 and "question" in text:
        assert parse_reply(f"{text[: text.find('q')]} no. {GOOD}")[0] == "Which organ?"


@pytest.mark.parametrize("unit", ["{", '{"', '{"question":', "{}", '{"a": 1}', "\\frac{a}{b} "])
def test_the_attempts_at_decoding_do_not_grow_with_the_reply(unit, monkeypatch):
    """An attempt may take as long as the whole reply, so a number that grows with it would be a square."""
    num_failed = []

    class Counting(json.JSONDecoder):
        def raw_decode(self, text, start=0):
            try:
                return super().raw_decode(text, start)
            except (ValueError, RecursionError):
                num_failed.append(start)
                raise

    monkeypatch.setattr(replies.json, "JSONDecoder", Counting)
    with pytest.raises(ReplyError):
        parse_reply(unit * 3000)
    assert len(num_failed) <= 100


def test_braces_of_formulas_do_not_hide_the_object():
    assert parse_reply("\\frac{a}{b} " * 500 + GOOD) == ("Which organ?", {"A": "liver", "B": "heart"})
