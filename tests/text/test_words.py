from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.text.words import (
    EXAM_WORDS,
    FUNCTION_WORDS,
    drop_clitics,
    fold,
    mask_numbers,
    singular,
    split_words,
    strip_marks,
    words_key,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Beh\u00e7et\u2019s disease", ["behcets", "disease"]),
        ("beta-blocker, IL-6; 2.5 mg", ["beta", "blocker", "il", "6", "2", "5", "mg"]),
        ("Na\u207a \u2265 5 \u00b5mol", ["na", "5", "\u03bcmol"]),
        ("\u8bca\u65ad ECG", ["\u8bca", "\u65ad", "ecg"]),
        ("snake_case", ["snake", "case"]),
        ("?!", []),
    ],
)
def test_words_are_folded_and_split_at_punctuation(text, words):
    assert split_words(text) == words


@pytest.mark.slow
@given(st.text())
def test_folding_twice_changes_no_word(text):
    words = split_words(text)
    assert split_words(" ".join(words)) == words


@given(st.text(alphabet=st.characters(codec="ascii")))
def test_the_short_way_for_plain_text_folds_alike(text):
    assert fold(f"{text}\u00e9") == f"{fold(text)}e"


def test_numbers_are_masked_with_their_decimals():
    assert mask_numbers("1,000.5 mg, CD4, 3") == "0 mg, CD0, 0"


def test_singular_leaves_words_that_only_look_plural():
    for word in ("virus", "diagnosis", "loss", "gas"):
        assert singular(word) == word
    assert singular("genes") == "gene"


def test_the_lists_hold_folded_words_and_do_not_overlap():
    assert not FUNCTION_WORDS & EXAM_WORDS
    for word in FUNCTION_WORDS | EXAM_WORDS:
        assert split_words(word) == [word]


def test_letters_without_marks_of_their_own_are_folded_in_every_case():
    assert fold("\u00d8stergaard, \u0141ukasz, f\u0153tal") == "ostergaard, lukasz, foetal"
    assert strip_marks("Beh\u00e7et \u00c6sthesia") == "Behcet AEsthesia"


def test_clitics_are_dropped_whatever_the_apostrophe():
    assert (
        drop_clitics("Crohn's, Wegener\u2019s, O'Brien, L\u2019Hermitte") == "Crohn, Wegener, O'Brien, L\u2019Hermitte"
    )


def test_the_key_of_words_ignores_how_they_are_joined():
    assert words_key("MedXpertQA_Text") == words_key("medxpertqa-text") == "medxpertqa text"
