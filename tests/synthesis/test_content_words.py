from __future__ import annotations

import json
from pathlib import Path

import pytest

from medssr.synthesis.contamination import ContaminationIndex
from medssr.synthesis.content_words import has_content, is_content_word
from medssr.text.words import words_key

STEMS = [json.loads(line) for line in (Path(__file__).parent / "stems.jsonl").read_text(encoding="utf-8").splitlines()]
CONTENTLESS = [item["stem"] for item in STEMS if not item["has_content"]]
ORDINARY = [item["stem"] for item in STEMS if item["has_content"]]


def test_content_is_told_from_standing_phrases():
    assert [item for item in STEMS if has_content(item["stem"]) != item["has_content"]] == []


def test_plurals_are_standing_words_too():
    assert not is_content_word("investigations")
    assert is_content_word("kidneys")


def test_texts_without_words_have_no_content():
    for text in ("", "  ", "?!", "12, 3.5 %"):
        assert not has_content(text)


@pytest.mark.slow
def test_no_stem_without_content_flags_an_ordinary_question():
    """Each alone in an index, whose counts then say nothing on which words are common, and all of them together."""
    assert len(CONTENTLESS) >= 30
    together = ContaminationIndex(CONTENTLESS)
    assert [stem for stem in ORDINARY if together.check(stem)] == []
    for contentless in CONTENTLESS:
        index = ContaminationIndex([contentless])
        assert [stem for stem in ORDINARY if index.check(stem)] == [], contentless


def test_a_stem_without_content_repeats_only_itself():
    ordinary, together = ContaminationIndex(ORDINARY), ContaminationIndex(CONTENTLESS)
    assert together.num_without_content == len(together) == len({words_key(stem) for stem in CONTENTLESS})
    for stem in CONTENTLESS:
        assert ordinary.check(stem) is None
        match = together.check(stem)
        assert (words_key(match.stem), match.score) == (words_key(stem), 1.0)
