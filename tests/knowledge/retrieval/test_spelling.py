from __future__ import annotations

import pytest
from support.helpers import ListCorpus

from medssr.knowledge.corpora import Passage
from medssr.knowledge.retrieval import store_passages
from medssr.knowledge.retrieval.bm25 import Speller


@pytest.fixture
def speller(tmp_path):
    corpus = ListCorpus(
        Passage("1", "Behet disease", "Hydralazine.", synonyms=("diarrhea", "wiedemann")),
        Passage("2", "Fever", "Vaccine, shingle, vaccine; fever."),
        Passage("3", "Shingles", "Carvedilol and single sores. Tingle."),
    )
    return Speller(store_passages(corpus, tmp_path))


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("behcet", "behet"),  # a letter too much for a corpus that lost its diacritics
        ("hydrslazine", "hydralazine"),  # a wrong letter
        ("vacine", "vaccine"),  # a missing letter
        ("vaccnie", "vaccine"),  # swapped letters
        ("diahrrea", "diarrhea"),  # two errors in eight letters
        ("wieddeman", "wiedemann"),
    ],
)
def test_a_typing_error_is_corrected(speller, word, expected):
    assert speller.correct(word) == expected
    assert speller.corrections == {word: expected}


@pytest.mark.parametrize(
    "word",
    [
        "vaccine",  # known
        "shingle",  # known, as are words of titles
        "fver",  # short
        "75gram",  # no word
        "vacinne",  # two errors in seven letters
        "yaccine",  # starts with another letter
        "sevoflurane",  # like none
        "",
    ],
)
def test_other_words_stay(speller, word):
    assert speller.correct(word) == word
    assert not speller.corrections


def test_the_nearest_word_wins_and_then_the_most_frequent(speller):
    assert speller.correct("shinglle") == "shingle"
    assert speller.correct("singlle") == "single"
    assert speller.correct("dingle") == "dingle"
