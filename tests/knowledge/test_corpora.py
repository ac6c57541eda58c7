from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.errors import InputError
from medssr.knowledge.corpora import BuiltinCorpus, JsonlCorpus, Passage, split_text
from medssr.knowledge.facts import builtin_common_diseases, builtin_rare_diseases


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def corpus(path: Path, source_field: str | None = "origin", max_chars: int | None = 1000) -> JsonlCorpus:
    return JsonlCorpus(path, "key", "heading", "body", source_field, max_chars, None)


def test_builtin_corpus_states_the_facts_of_each_disease():
    passages = {passage.title: passage for passage in BuiltinCorpus().passages()}
    with_facts = [entity for entity in [*builtin_rare_diseases(), *builtin_common_diseases()] if entity.facts]
    assert set(passages) == {entity.name for entity in with_facts}
    assert len({passage.id for passage in passages.values()}) == len(passages)
    for entity in with_facts:
        for fact in entity.facts:
            assert fact.value in passages[entity.name].text
            assert fact.source in passages[entity.name].source


def test_jsonl_corpus_reads_the_named_fields(tmp_path):
    path = write(
        tmp_path / "c.jsonl",
        {"key": "d1", "heading": "Fabry", "body": " Short text. ", "origin": "GARD", "more": 1},
        {"key": 2, "heading": "Gaucher", "body": "Other text.", "origin": "GHR"},
    )
    assert list(corpus(path).passages()) == [
        Passage("d1", "Fabry", "Short text.", "GARD"),
        Passage("2", "Gaucher", "Other text.", "GHR"),
    ]
    assert [passage.source for passage in corpus(path, source_field=None).passages()] == [None, None]


def test_long_texts_are_split_at_sentence_ends_and_keep_the_title(tmp_path):
    body = "First sentence here. Second one. Is this the third? Fourth!"
    path = write(tmp_path / "c.jsonl", {"key": "d", "heading": "T", "body": body, "origin": "o"})
    passages = list(corpus(path, max_chars=34).passages())
    assert [passage.text for passage in passages] == ["First sentence here. Second one.", "Is this the third? Fourth!"]
    assert [passage.id for passage in passages] == ["d#1", "d#2"]
    assert {passage.title for passage in passages} == {"T"}
    assert [passage.text for passage in corpus(path, max_chars=None).passages()] == [body]


def test_a_long_sentence_is_cut_at_blanks_and_a_long_word_anywhere():
    assert split_text("aaa bbb ccc", 7) == ["aaa bbb", "ccc"]
    assert split_text("abcdefgh", 3) == ["abc", "def", "gh"]


@given(st.text(alphabet="ab. ?!\n", max_size=200), st.integers(1, 50))
def test_splitting_loses_no_character_but_blanks(text, max_chars):
    pieces = split_text(text, max_chars)
    assert all(len(piece) <= max_chars for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())


GOOD = {"key": "d", "heading": "T", "body": "Text.", "origin": "o"}


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        ([], ["holds no document"]),
        ([GOOD, "{broken"], ["line 2", "not valid JSON"]),
        ([GOOD, "[1]"], ["line 2", "expected an object"]),
        ([{"key": "d", "heading": "T", "origin": "o"}], ["line 1", 'field "body"', "missing", "key, heading, origin"]),
        ([GOOD | {"heading": " "}], ["line 1", 'field "heading"', "not empty"]),
        ([GOOD | {"body": ["x"]}], ["line 1", 'field "body"', "['x']"]),
        ([GOOD, GOOD], ["line 2", 'field "key"', "line 1 already"]),
    ],
)
def test_faults_name_file_line_and_field(tmp_path, lines, parts):
    path = write(tmp_path / "c.jsonl", *lines)
    with pytest.raises(InputError) as caught:
        list(corpus(path).passages())
    for part in [str(path), *parts]:
        assert part in str(caught.value)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        list(corpus(tmp_path / "none.jsonl").passages())


def test_reads_the_public_answers(shared_data):
    documents = JsonlCorpus(
        shared_data / "medquad" / "documents.jsonl", "doc_id", "focus", "answer", "source", 1000, None
    )
    passages = list(documents.passages())
    assert len({passage.id.split("#")[0] for passage in passages}) == 10_819
    assert len({passage.id for passage in passages}) == len(passages)
    assert max(len(passage.text) for passage in passages) <= 1000
