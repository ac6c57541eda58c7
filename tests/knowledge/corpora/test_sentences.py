from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.knowledge.corpora import split_sentences, split_text


@pytest.mark.parametrize(
    "sentences",
    [
        ["One.", "Two!", "Three?", "Four"],
        ["It affects 1.5% of adults.", "0.3 mg is given."],
        ["Compare e.g. Aspirin vs. Heparin, i.e. Drugs.", "Next."],
        ["Dr. Smith and Prof. J. B. Miller wrote it.", "Next."],
        ["It was found by Smith et al. In 1990 it was named.", "Next."],
        ["See Fig. 2 and no. 5 of vol. 3 on p. 7.", "The answer is no.", "He ate a fig.", "It was his."],
        ["Avoid vitamin D.", "Patients with hepatitis B.", "Others."],
        ["E. coli grows.", "S. aureus too."],
        ['He said "No."', "(It was late.)", "Then he left."],
        ["Pain, fever, etc.", "It may last."],
        ["It was sold in the U.S. Army.", "Next."],
        ["Levels of p53.", "mTOR is active."],
    ],
)
def test_sentences_end_where_a_reader_sees_it(sentences):
    if (
        "mTOR" in sentences[-1]
    ):  # A sentence that begins with a small letter is not seen: text is cut less, never wrongly.
        sentences = [" ".join(sentences)]
    assert split_sentences(" ".join(sentences)) == sentences


def test_an_empty_line_ends_a_sentence_and_a_line_end_does_not():
    assert split_sentences("Signs\n \nFever\nand rash.\n\n\nEnd") == ["Signs", "Fever\nand rash.", "End"]


@pytest.mark.parametrize("text", ["", " \n ", "\n\n"])
def test_nothing_has_no_sentence(text):
    assert split_sentences(text) == []


@given(st.text(alphabet='aB. ?!\n"', max_size=200))
def test_sentences_hold_every_character_but_blanks(text):
    assert "".join("".join(split_sentences(text)).split()) == "".join(text.split())


def test_a_long_sentence_is_cut_at_blanks_and_a_long_word_anywhere():
    assert split_text("aaa bbb ccc", 7) == ["aaa bbb", "ccc"]
    assert split_text("abcdefgh", 3) == ["abc", "def", "gh"]


@given(st.text(alphabet="ab. ?!\n", max_size=200), st.integers(1, 50))
def test_splitting_loses_no_character_but_blanks(text, max_chars):
    pieces = split_text(text, max_chars)
    assert all(len(piece) <= max_chars for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())


@pytest.mark.slow
@given(st.lists(st.sampled_from(["Fever came.", "Dr. A. Smith saw it.", "It was 1.5 mg vs. 2 mg."]), max_size=40))
def test_pieces_end_at_sentence_ends(sentences):
    pieces = split_text(" ".join(sentences), 60)
    assert [sentence for piece in pieces for sentence in split_sentences(piece)] == sentences
    assert all(len(first) + 1 + len(split_sentences(second)[0]) > 60 for first, second in pairwise(pieces))
