from __future__ import annotations

import json
from pathlib import Path

import pytest

from medssr.errors import InputError
from medssr.knowledge.corpora import Cleaning, JsonlCorpus, Passage


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def corpus(path: Path, source_field: str | None = "origin", max_chars: int | None = 1000) -> JsonlCorpus:
    return JsonlCorpus(path, "key", "heading", "body", source_field, max_chars)


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


def test_synonyms_are_a_list_or_one_text(tmp_path):
    names = [["a", " b ", "", "a"], "a; b", "", None, []]
    path = write(tmp_path / "c.jsonl", *(GOOD | {"key": number, "names": value} for number, value in enumerate(names)))
    read = JsonlCorpus(path, "key", "heading", "body", None, 1000, "names").passages()
    assert [passage.synonyms for passage in read] == [("a", "b"), ("a", "b"), (), (), ()]


@pytest.mark.parametrize("value", [7, ["a", 7], {"a": "b"}])
def test_synonyms_of_another_kind_are_a_fault(tmp_path, value):
    path = write(tmp_path / "c.jsonl", GOOD | {"names": value})
    with pytest.raises(InputError, match=r'line 1, field "names".*list of texts'):
        list(JsonlCorpus(path, "key", "heading", "body", None, 1000, "names").passages())


def test_a_folder_is_read_in_the_order_of_its_files(tmp_path):
    (tmp_path / "chunk" / "more").mkdir(parents=True)
    write(tmp_path / "chunk" / "b.jsonl", GOOD | {"key": 2})
    write(tmp_path / "chunk" / "a.jsonl", GOOD | {"key": 1})
    write(tmp_path / "chunk" / "more" / "c.jsonl", GOOD | {"key": 3})
    write(tmp_path / "chunk" / "readme.txt", "no JSON")
    assert [passage.id for passage in corpus(tmp_path / "chunk").passages()] == ["1", "2", "3"]
    write(tmp_path / "chunk" / "more" / "c.jsonl", GOOD, GOOD | {"key": 1})
    with pytest.raises(InputError, match=r'c\.jsonl, line 2.*"1" was used on .*a\.jsonl, line 1'):
        list(corpus(tmp_path / "chunk").passages())


def test_a_folder_without_files_is_a_fault(tmp_path):
    with pytest.raises(InputError, match="holds no data file"):
        list(corpus(tmp_path).passages())


def test_a_pointer_in_place_of_the_file_is_named(tmp_path):
    path = write(tmp_path / "c.jsonl", "version https://git-lfs.github.com/spec/v1", "oid sha256:abc", "size 1")
    with pytest.raises(InputError, match="Git LFS pointer"):
        list(corpus(path).passages())


def test_documents_without_ids_are_numbered(tmp_path):
    path = write(tmp_path / "c.jsonl", GOOD, GOOD)
    read = JsonlCorpus(path, None, "heading", "body", None, None)
    assert [passage.id for passage in read.passages()] == ["1", "2"]


def test_a_document_without_text_is_counted_not_yielded(tmp_path):
    texts = [" ", None, "Text."]
    path = write(tmp_path / "c.jsonl", *(GOOD | {"key": number, "body": text} for number, text in enumerate(texts)))
    read = corpus(path)
    assert [passage.id for passage in read.passages()] == ["2"]
    assert (read.counts.num_documents, read.counts.num_empty, read.counts.num_kept) == (3, 2, 1)


def test_a_corpus_without_any_text_is_a_fault(tmp_path):
    with pytest.raises(InputError, match="nothing is left"):
        list(corpus(write(tmp_path / "c.jsonl", GOOD | {"body": ""})).passages())


def test_cleaning_is_off_unless_asked_for(tmp_path):
    path = write(tmp_path / "c.jsonl", GOOD, GOOD | {"key": "e"})
    assert len(list(corpus(path).passages())) == 2
    cleaned = JsonlCorpus(path, "key", "heading", "body", None, 1000, cleaning=Cleaning({}, None))
    assert len(list(cleaned.passages())) == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.csv", 'key;heading;body\nd1;Behçet;"First; line.\nSecond."\nd2;Fabry;\n'.encode("cp1252")),
        ("c.tsv", 'key\theading\tbody\nd1\tBehçet\t"First; line.\nSecond."\nd2\tFabry\t\n'.encode("utf-16")),
        (
            "c.json",
            json.dumps(
                [
                    {"key": "d1", "heading": "Behçet", "body": "First; line.\nSecond."},
                    {"key": "d2", "heading": "Fabry", "body": None},
                ],
                indent=1,
            ).encode(),
        ),
    ],
)
def test_tables_and_lists_are_corpora_too(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    for path in (tmp_path / name, tmp_path):
        read = corpus(path, source_field=None)
        assert list(read.passages()) == [Passage("d1", "Behçet", "First; line.\nSecond.")]
        assert read.counts.num_empty == 1


def test_half_a_surrogate_pair_is_named(shared_data):
    path = shared_data / "inputs" / "half_surrogate_corpus.jsonl"
    with pytest.raises(InputError, match=r'line 1, field "text": holds half a surrogate pair .*; remove it'):
        list(JsonlCorpus(path, "id", "title", "text", None, None).documents())
