"""What holds for any text: a letter of the question or none, the same whatever surrounds the answer, in linear time."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medssr.answers import Reason, extract_choice

DRUGS = {"A": "Aspirin", "B": "Warfarin", "C": "Heparin", "D": "Clopidogrel"}
ALPHABET = {letter: f"finding {number}" for number, letter in enumerate(string.ascii_uppercase)}
OPTION_SETS = [
    DRUGS,
    ALPHABET,
    {"A": "yes", "B": "no", "C": "maybe"},
    {"A": "Hepatitis A", "B": "Hepatitis B", "C": "IgA nephropathy"},
    {"A": "5", "B": "5.5", "C": "-5"},
    {"A": "Rest", "B": "Rest", "C": "Surgery"},
    {"A": ""},
    {},
]
SNIPPETS = [
    "The answer is ", "A", "B", "E", " or ", "not ", "(", ")", "\\boxed{", "}", "<think>", "</think>", "Warfarin", "\n",
    '"answer": "', '"', "? ", ". ", "so ", "is correct", "Question: ", "**", "I ", "</s>", "\u200b", "\u0130", "选",
]  # fmt: skip
anything = st.one_of(st.text(), st.lists(st.sampled_from(SNIPPETS), max_size=25).map("".join))
SENTENCES = [
    "The patient has atrial fibrillation.",
    "A beta blocker would slow the rate.",
    "I think that stroke prevention matters here.",
    "Option A is tempting, but it is weaker.",
    "Heparin is given parenterally.",
    "At first the answer is A.",
    "The correct answer could be C or D.",
    "Perhaps the answer is D?",
    "Vitamin K is involved.",
    "So the question is which drug to give.",
]
reasoning = st.lists(st.sampled_from(SENTENCES), max_size=12).map(" ".join)


@pytest.mark.slow
@given(anything, st.sampled_from(OPTION_SETS))
@settings(max_examples=500, deadline=None)
def test_any_text_gives_a_letter_of_the_question_or_none(completion: str, options: dict[str, str]) -> None:
    choice = extract_choice(completion, options)
    assert choice.letter is None or choice.letter in options
    assert choice.reason in set(Reason)


@pytest.mark.slow
@given(reasoning, st.sampled_from(sorted(DRUGS)), st.sampled_from(["The answer is {}.", "**{}**", "\\boxed{{{}}}"]))
@settings(deadline=None)
def test_reasoning_in_front_does_not_change_the_answer(prefix: str, letter: str, line: str) -> None:
    assert extract_choice(prefix + "\n\n" + line.format(letter), DRUGS).letter == letter


@pytest.mark.slow
@given(st.sampled_from(sorted(ALPHABET)), st.permutations(sorted(ALPHABET)))
@settings(deadline=None)
def test_a_walk_through_all_options_does_not_change_the_answer(answer: str, order: list[str]) -> None:
    walk = "".join(f"{letter}. {ALPHABET[letter]} - does not fit.\n" for letter in order)
    assert extract_choice(walk + f"The answer is {answer}.", ALPHABET).letter == answer
    assert extract_choice(f"The answer is {answer}.\n\n" + walk, ALPHABET).letter == answer


@pytest.mark.slow
@pytest.mark.parametrize(
    "hostile",
    [
        "The answer is ",
        "answer of ",
        "(((((",
        "(b)",
        " (b).",
        "\\boxed{",
        "a",
        "<think>",
        '"answer": "',
        "B, C or ",
        "best ",
        "most likely is ",
        "A. Aspirin: weak. ",
        "A. Aspirin\nB. Warfarin\n",
        "if so ",
        "if it is, the answer is Z; ",
        '{"answer": "Z", "x": "',
        '", "x": "y',
        "the least ",
        "sure ",
        "\n",
        "İ",
        "\n2. ",
        "?\na. ",
        "\n---\n",
        "\nQuestion 2:\n",
        "\nx: is it? a\n",
        "}q",
        "scratch that, ",
        "it is Z in a case. ",
        "Aspirin and ",
        "wait, not B but C, ",
        "I previously said B ",
        "it isn't ",
        "B is ",
        "\nwhich of them is it, ",
        "although B is it, ",
        "I and II, ",
        "all of them are so ",
        "without B more likely ",
        "\n\nin which",
        "</td><td>",
        "\n- - -\nis it so that one is enough",
    ],
)
def test_a_million_characters_are_read_to_their_end(hostile: str) -> None:
    text = hostile * (1_000_000 // len(hostile))
    assert extract_choice(text + "\n\nI do not know", DRUGS).letter is None
    assert extract_choice(text + "</think>\n\nThe answer is B.", DRUGS).letter == "B"
