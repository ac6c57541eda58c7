from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.knowledge.names import all_keys, join_keys, normalize_name


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Alström syndrome", "Alstrom syndrome"),
        ("Behçet disease", "BEHCET DISEASE"),
        ("Alzheimer's disease", "Alzheimer disease"),
        ("Crohn\u2019s disease", "Crohn disease"),
        ("Graves' disease", "Graves disease"),
        ("L'Hermitte-Duclos disease", "Lhermitte Duclos disease"),
        ("Charcot-Marie-Tooth disease, type 1A", "Charcot Marie Tooth disease type IA"),
        ("Charcot\u2013Marie\u2013Tooth disease", "Charcot-Marie-Tooth disease"),
        ("Mucopolysaccharidosis type II", "mucopolysaccharidosis type 2"),
        ("Mucopolysaccharidosis IIIB", "Mucopolysaccharidosis 3B"),
        ("Multiple endocrine neoplasia type IIa", "multiple endocrine neoplasia, type 2A"),
        ("Factor X deficiency", "Factor 10 deficiency"),
        ("Tyrosinemia type XIX", "Tyrosinemia type 19"),
        ("\u03b1-mannosidosis", "Alpha-mannosidosis"),
        ("Bj\u00f8rnstad syndrome", "Bjornstad syndrome"),
        ("Bjo\u0308rnstad  syndrome ", "Bj\u00f6rnstad syndrome"),
        ("Meier-Gorlin syndrome (MGS)", "Meier Gorlin syndrome MGS"),
    ],
)
def test_spellings_of_one_name_are_equal(first, second):
    assert normalize_name(first) == normalize_name(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Marfan disease", "Marfan syndrome"),
        ("Usher syndrome type 1", "Usher syndrome type 2"),
        ("Trisomy X", "Trisomy 10"),
        ("Fragile X syndrome", "Fragile 10 syndrome"),
        ("Hepatitis B", "Hepatitis C"),
        ("MEN type 2A", "MEN type 2B"),
        ("\u03b1-mannosidosis", "\u03b2-mannosidosis"),
    ],
)
def test_different_diseases_stay_apart(first, second):
    assert not set(join_keys(first)) & set(join_keys(second))


@pytest.mark.parametrize(
    ("name", "lossy"),
    [
        ("Alström syndrome", "Alstrm syndrome"),
        ("Behçet disease", "Behet disease"),
        ("Bj\u00f6rnstad syndrome", "Bjrnstad syndrome"),
        ("Bjo\u0308rnstad syndrome", "Bjrnstad syndrome"),
        ("Sjögren-Larsson syndrome", "SJGREN-LARSSON SYNDROME"),
        ("Ménière disease", "Mnire disease"),
    ],
)
def test_a_name_without_its_diacritics_is_joined(name, lossy):
    assert set(join_keys(name)) & set(join_keys(lossy))


def test_words_that_look_like_numerals_stay():
    for name in ("via", "id reaction", "mix", "civil"):
        assert normalize_name(name) == name


WORDS = st.sampled_from(["Type", "II", "x", "Ia", "O'Brien's", "\u00c9", "\u00df", "-", ",", "vi", "\u0130", "\u03a3"])
NAMES = st.text(max_size=20) | st.lists(WORDS, max_size=6).map(" ".join)


@given(NAMES)
def test_normalising_again_changes_nothing(name):
    once = normalize_name(name)
    assert normalize_name(once) == once


@given(WORDS | st.text(alphabet=st.characters(codec="ascii"), max_size=20))
def test_case_makes_no_difference(name):
    assert normalize_name(name.upper()) == normalize_name(name.lower()) == normalize_name(name)


@given(NAMES)
def test_a_normalised_name_is_small_words_with_single_blanks(name):
    key = normalize_name(name)
    assert key == " ".join(key.split()) == key.casefold()
    assert all(char.isalnum() or char == " " for char in key)


@pytest.mark.slow
@given(NAMES)
def test_the_first_key_is_the_normalised_name(name):
    keys = join_keys(name)
    assert normalize_name(name) in (*keys, "")
    assert "" not in keys
    assert len(set(keys)) == len(keys) <= 2
    assert all_keys([name]) == set(keys)
