from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.synthesis.mentions import copied_words, mentions


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("A man has Fabry's disease.", "Fabry disease"),
        ("A MAN HAS FABRY DISEASE", "Fabry disease"),
        ("ataxia telangiectasia (AT)", "Ataxia-telangiectasia"),
        ("A girl with Beh\u00e7et syndrome", "Behcet disease"),
        ("glycogen storage disease type 2", "Glycogen storage disease type II"),
        ("Duchenne muscular dystrophy", "Muscular dystrophy, Duchenne type"),
        ("vascular Ehlers-Danlos syndrome", "Ehlers-Danlos syndrome, vascular type"),
    ],
)
def test_names_are_found_in_other_forms(text, name):
    assert mentions(text, name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("A man has Pompe disease.", "Fabry disease"),
        ("glycogen storage disease type 2", "Glycogen storage disease type III"),
        ("It affects the hand", "HAND syndrome of the foot"),
        ("The disease of this type", "Disease X"),
        ("", "Fabry disease"),
        ("anything", ""),
        ("anything", "???"),
    ],
)
def test_other_names_are_not_found(text, name):
    assert not mentions(text, name)


def test_a_name_of_generic_words_has_to_occur_whole():
    assert mentions("deficiency of the form", "Form deficiency")
    assert not mentions("deficiency of zinc", "Form deficiency")


def test_words_in_a_row_are_a_copy_from_the_least_number_on():
    source = "The disease is caused by mutations; of the GLA gene on the X chromosome."
    text = "A man has a disease caused by mutations of the GLA gene. What is it?"
    assert copied_words(text, source, 7) == "caused by mutations of the gla gene"
    assert copied_words(text, source, 8) is None
    assert copied_words("", source, 1) is None
    assert copied_words(text, "", 1) is None


@given(st.lists(st.sampled_from("abc"), max_size=14), st.lists(st.sampled_from("abc"), max_size=14), st.integers(1, 6))
def test_a_copy_is_found_wherever_it_stands(text, source, least):
    runs = [text[start : start + least] for start in range(len(text) - least + 1)]
    others = [source[start : start + least] for start in range(len(source) - least + 1)]
    expected = next((" ".join(run) for run in runs if run in others), None)
    assert copied_words(" ".join(text), " ".join(source), least) == expected
