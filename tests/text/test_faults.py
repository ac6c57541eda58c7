from __future__ import annotations

import pytest

from medssr.text.faults import (
    asks_nothing,
    garbage,
    leaked_answer,
    missing_figure,
    not_english,
    option_key,
)


@pytest.mark.parametrize(
    "stem",
    [
        "Which organ is affected?",
        "Which organ is affected? (Assume that the kidneys are healthy.)",
        "The most likely diagnosis is",
        "The most likely diagnosis is:",
        "All of these are causes EXCEPT",
        "All of these are causes, except one.",
        "Is Wilson disease inherited",
        "He is tired. Does he need iron.",
        "Look at the findings and suggest the most likely diagnosis.",
    ],
)
def test_stems_that_ask_or_that_an_option_completes(stem):
    assert asks_nothing(stem) is None


@pytest.mark.parametrize(
    "stem",
    [
        "Wilson disease damages the liver.",
        "What is Wilson disease? " + "It is a disorder of copper. " * 10,
        "A man is tired. He is a smoker and has lost weight.",
        "",
    ],
)
def test_stems_that_ask_nothing(stem):
    assert asks_nothing(stem) is not None


@pytest.mark.parametrize(
    "text",
    [
        "The answer is B.",
        "Answer: liver",
        "heart [correct]",
        "heart (correct)",
        "liver \u2713",
        "Explanation: copper is stored.",
        "the correct option",
    ],
)
def test_words_that_give_the_answer_away(text):
    assert leaked_answer(text) is not None


@pytest.mark.parametrize(
    "text", ["one answer", "corrected by surgery", "pulmonary artery (right)", "He answers slowly."]
)
def test_words_that_give_nothing_away(text):
    assert leaked_answer(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "A CT scan is shown.",
        "He has lesions on his face (figure).",
        "Look at the MRI and choose a diagnosis.",
        "The area is indicated by the arrow.",
        "This image shows a rash.",
        "The rash is seen in the picture.",
        "The result is shown in the exhibit.",
        "a rash over her back, as shown.",
    ],
)
def test_words_that_point_to_a_figure(text):
    assert missing_figure(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        "She exhibits a tremor.",
        "It was shown to lower the risk.",
        "the clinical picture of sepsis",
        "image-guided therapy",
        "He fell from a table.",
        "He figures in a study.",
        "APGAR testing exhibits a score of 7.",
    ],
)
def test_words_that_point_to_no_figure(text):
    assert missing_figure(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "\ufffd",
        "Beh\u00c3\u00a7et",
        "patient\u00e2\u20ac\u2122s",
        "a\x00b",
        "{entity} is",
        "```json",
        "<passage>",
        "<|im_end|>",
        "aaaaaaaaaa",
        "the the the the",
        "\ud800",
    ],
)
def test_what_is_no_text_is_garbage(text):
    assert garbage(f"Which {text} is it?") is not None


@pytest.mark.parametrize(
    "text",
    [
        "Beh\u00e7et\u2019s disease",
        "pH < 7.35 and PaO2 > 60",
        "CAG CAG CAG repeats",
        "0.00000001",
        "line\nbreak\tand tab",
        "5 \u00b5g",
        "S\u00e3o Paulo",
        "<50 mg/dL>",
        "................",
    ],
)
def test_unusual_texts_are_no_garbage(text):
    assert garbage(text) is None


def test_other_languages_are_told_by_script_and_by_small_words():
    assert not_english("\u8bca\u65ad\u662f\u4ec0\u4e48?")
    assert not_english("\u041a\u0430\u043a\u043e\u0439 \u0434\u0438\u0430\u0433\u043d\u043e\u0437?")
    assert not_english("Welche Ursache haben die Beschwerden dieser jungen Patientin wahrscheinlich?")
    assert not_english("\u00bfCu\u00e1l es la causa m\u00e1s probable de los s\u00edntomas de esta paciente?")
    assert not_english("Which gene is mutated in Beh\u00e7et disease with \u03b1-galactosidase?") is None
    assert not_english("Gingivitis") is None
    assert not_english("5 + 5 = ?") is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Ataxia-telangiectasia", "ataxia telangiectasia"),
        ("Non-invasive ventilation", "noninvasive ventilation."),
        ("Crohn's disease", "Crohn disease".replace("Crohn", "Crohns")),
        ("The liver", "liver"),
        ("Beta blockers", "beta-blocker"),
        ("Beh\u00e7et disease", "Behcet disease"),
    ],
)
def test_options_that_say_the_same_have_one_key(first, second):
    assert option_key(first) == option_key(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("CD4+", "CD4-"),
        ("1.5 mg", "15 mg"),
        ("5-10", "510"),
        ("-5", "5"),
        ("<5", ">5"),
        ("Vitamin A", "Vitamin D"),
        ("A wave", "V wave"),
        ("\u2191 PTH", "\u2193 PTH"),
        ("?", "!"),
        ("Na+", "Na-"),
        ("type 1", "type 11"),
    ],
)
def test_options_that_differ_have_two_keys(first, second):
    assert option_key(first) != option_key(second)
