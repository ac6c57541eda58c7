"""What a completion says in which order: an answer, remarks on it, a correction of it, a question of the model's own.

`variants.json` has the pieces: {x} and {xt} stand for the letter and the text of the answer, {y} and {yt} for those of
another option. `replies.jsonl` has whole replies, sorted by what makes them hard and by the letter that they give.
"""

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medssr.answers import extract_choice

VARIANTS = json.loads((Path(__file__).parent / "variants.json").read_text(encoding="utf-8"))
REPLIES = [
    json.loads(line) for line in (Path(__file__).parent / "replies.jsonl").read_text(encoding="utf-8").splitlines()
]
DRUGS = VARIANTS["options"]
NAMES = {"x": "C", "xt": DRUGS["C"], "y": "B", "yt": DRUGS["B"]}
LANGUAGES = list(itertools.chain(*VARIANTS["languages"].values()))
LEAST_RIGHT = 0.97  # of the plain endings, which may also give no letter; a wrong letter is never right


def misread(completions: Iterable[str], expected: str | None, options: dict[str, str] = DRUGS) -> list[str]:
    """Returns the completions that give another letter than the expected one, or none."""
    return [text for text in completions if extract_choice(text, options).letter != expected]


def further_questions(headings: Iterable[str]) -> Iterator[str]:
    """Yields answers with a further question of the model's own behind them, under each of the headings."""
    for heading in headings:
        grid = itertools.product(VARIANTS["separators"], VARIANTS["answers_before"], VARIANTS["answers_behind"])
        for number, (separator, before, behind) in enumerate(grid):
            stem = VARIANTS["stems"][number % len(VARIANTS["stems"])]
            options = VARIANTS["option_lists"][number % len(VARIANTS["option_lists"])]
            question = separator + heading + stem
            yield (before + question + "\n" + options + "\n" + behind).format(**NAMES)
            yield (before + question + "\n" + behind).format(**NAMES)


def test_the_answer_to_a_further_question_is_not_read_under_the_first_headings() -> None:
    assert misread(further_questions(VARIANTS["headings"][:2]), "C") == []


@pytest.mark.slow
def test_the_answer_to_a_further_question_is_not_read() -> None:
    assert misread(further_questions(VARIANTS["headings"]), "C") == []


@pytest.mark.parametrize("options", VARIANTS["option_lists"])
def test_a_stem_with_options_needs_no_heading(options: str) -> None:
    grid = itertools.product(VARIANTS["answers_before"], VARIANTS["stems"], VARIANTS["answers_behind"])
    completions = (f"{before}\n\n{stem}\n{options}\n{behind}".format(**NAMES) for before, stem, behind in grid)
    assert misread(completions, "C") == []


def test_a_question_that_is_repeated_first_is_the_one_that_was_asked() -> None:
    question = "Question: {stem}\n{options}\nAnswer: C"
    grid = itertools.product(VARIANTS["stems"], VARIANTS["option_lists"])
    assert misread((question.format(stem=stem, options=options) for stem, options in grid), "C") == []


def test_an_abstention_in_front_of_a_further_question_is_none() -> None:
    further = "\n\nQuestion 2: Which drug colours tears?\nA. Isoniazid\nB. Rifampicin\nAnswer: B"
    assert misread(["I do not know." + further, "No option fits." + further], None) == []


@pytest.mark.slow
def test_a_remark_leaves_the_answer_as_it_is() -> None:
    completions = map("".join, itertools.product(VARIANTS["firm"], (" ", "\n\n"), VARIANTS["remarks"]))
    assert misread((text.format(**NAMES) for text in completions), "C") == []


@pytest.mark.slow
def test_a_correction_replaces_the_answer() -> None:
    completions = map("".join, itertools.product(VARIANTS["withdrawn"], (" ", "\n\n"), VARIANTS["corrections"]))
    assert misread((text.format(**NAMES) for text in completions), "C") == []


@pytest.mark.parametrize("case", VARIANTS["combinations"], ids=lambda case: case["options"][case["expected"]])
def test_a_combination_is_the_option_that_has_its_parts(case: dict[str, object]) -> None:
    options, phrases = case["options"], case["phrases"]
    assert isinstance(options, dict) and isinstance(phrases, list)
    completions = [lead.format(phrase) for phrase in phrases for lead in VARIANTS["combination_leads"]]
    assert misread(completions, str(case["expected"]), options) == []
    parts = {letter: text for letter, text in options.items() if letter != case["expected"]}
    letters = {extract_choice(f"Answer: {phrase}", parts).letter for phrase in phrases}
    assert letters <= {None}, "two options, and none that combines them, are no answer"


@pytest.mark.parametrize("endings", [LANGUAGES, VARIANTS["forms"]], ids=["languages", "forms"])
def test_plain_endings(endings: list[str]) -> None:
    letters = [extract_choice(ending.format(**NAMES), DRUGS).letter for ending in endings]
    assert set(letters) <= {"C", None}
    assert letters.count("C") >= LEAST_RIGHT * len(endings)


def test_no_answer_gives_no_letter() -> None:
    completions = [
        text.replace("{x}", "C").replace("{y}", "B").replace("{{", "{").replace("}}", "}")
        for text in VARIANTS["no_answer"]
    ]
    assert misread(completions, None) == []


@pytest.mark.slow
@pytest.mark.parametrize("group", REPLIES, ids=lambda group: f"{group['kind']} on {group['options']['A']}")
def test_a_whole_reply_gives_its_letter(group: dict[str, Any]) -> None:
    for letter, replies in group["replies"].items():
        assert misread(replies, None if letter == "none" else letter, group["options"]) == []


PIECES = [
    *(text.format(**NAMES) for text in (*VARIANTS["remarks"], *VARIANTS["corrections"], *VARIANTS["firm"], *LANGUAGES)),
    *(text.format(**NAMES) for text in VARIANTS["forms"]),
    *VARIANTS["headings"],
    *VARIANTS["option_lists"],
    *VARIANTS["stems"],
    *itertools.chain(*(replies for group in REPLIES for replies in group["replies"].values())),
]


@pytest.mark.slow
@given(
    st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=8)), max_size=12),
    st.sampled_from(["", " ", "\n", "\n\n"]),
    st.sampled_from([DRUGS, *(case["options"] for case in VARIANTS["combinations"]), {"A": "yes", "B": "no"}, {}]),
)
@settings(max_examples=300, deadline=None)
def test_pieces_in_any_order_give_a_letter_of_the_question_or_none(
    pieces: list[str], gap: str, options: dict[str, str]
) -> None:
    letter = extract_choice(gap.join(pieces), options).letter
    assert letter is None or letter in options
