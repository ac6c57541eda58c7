from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.knowledge.retrieval.bm25 import terms, tokenize
from medssr.text.words import singular


def test_tokens_keep_single_letters_and_lose_case_and_diacritics():
    assert tokenize("Hepatitis B, vitamin D; TYPE 2") == ["hepatitis", "b", "vitamin", "d", "type", "2"]
    assert tokenize("Behçet Sjögren") == ["behcet", "sjogren"]
    assert tokenize("Wegener's; it\u2019s") == ["wegener", "it"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What are the treatments for vitamin D deficiency?", ["treatment", "vitamin", "d", "deficiency"]),
        ("a type I error, as I said", ["type", "i", "error", "i", "said"]),
        ("Hepatitis A is a disease", ["hepatitis", "a", "disease"]),
        ("I don't have T cells", ["i", "t", "cell"]),
        ("HEPATITIS", ["hepatitis"]),
        ("", []),
    ],
)
def test_terms_say_what_a_text_is_about(text, expected):
    assert terms(text) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("allergies", "allergy"),
        ("movies", "movy"),
        ("calories", "calory"),
        ("nephroses", "nephrose"),
        ("toes", "toe"),
        ("kidneys", "kidney"),
        ("abscess", "abscess"),
        ("virus", "virus"),
        ("fibrosis", "fibrosis"),
        ("gas", "gas"),
    ],
)
def test_plurals_lose_their_ending_by_the_first_rule_that_fits(word, expected):
    assert singular(word) == expected


@given(st.text())
def test_any_text_has_terms_among_its_singular_tokens(text):
    assert set(terms(text)) <= {singular(token) for token in tokenize(text)}
