"""A grid of options that speak about other options, and of hard ones that do not."""

from __future__ import annotations

import pytest
from support.option_grid import option_grid

from medssr.answers.options_about_options import names_option, option_about_options, speaks_about_options

POSITIVES, NEGATIVES = option_grid(is_about_options=True), option_grid(is_about_options=False)


def test_the_grid_is_large_enough():
    assert min(len(POSITIVES), len(NEGATIVES)) >= 80
    assert set(POSITIVES).isdisjoint(NEGATIVES)


def found(text: str) -> str | None:
    return option_about_options({"A": "liver", "B": "heart", "C": text})


def test_an_option_about_options_is_found():
    assert [text for text in POSITIVES if not speaks_about_options(text)] == []
    assert [text for text in POSITIVES if found(text) != text] == []


def test_an_ordinary_option_is_none():
    assert [text for text in NEGATIVES if speaks_about_options(text)] == []
    assert [text for text in NEGATIVES if found(text) is not None] == []


def test_the_ninth_option_has_a_letter_too():
    assert option_about_options(dict.fromkeys("ABCDEFGH", "x") | {"I": "G and J"}) is None
    assert option_about_options(dict.fromkeys("ABCDEFGHI", "x") | {"J": "G and J"}) == "G and J"


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("Why is option B wrong?", True),
        ("Which of the choices (a) or (b) is better?", True),
        ("What do options for group B have in common?", False),
        ("Is answer C right?", True),
    ],
)
def test_a_stem_names_an_option(stem, expected):
    assert names_option(stem, {"A": "liver", "B": "heart"}) is expected
