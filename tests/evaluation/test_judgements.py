from __future__ import annotations

import json
from pathlib import Path

import pytest

from medssr.errors import InputError
from medssr.evaluation.judgements import Judgement, RetrievalQuestion, read_judgements, read_retrieval_questions


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


QUESTION = {"question_id": 1, "subject": "Gout", "message": " ", "summary": "What causes gout?"}
JUDGEMENT = {"question_id": 1, "doc_id": "d1", "grade": 3}


@pytest.mark.parametrize(
    ("fields", "query"),
    [
        (["summary"], "What causes gout?"),
        (["subject", "summary"], "Gout What causes gout?"),
        (["subject", "message", "summary"], "Gout What causes gout?"),
    ],
)
def test_the_query_is_made_of_the_named_fields(tmp_path, fields, query):
    path = write(tmp_path / "q.jsonl", QUESTION)
    assert read_retrieval_questions(path, fields) == [RetrievalQuestion("1", query)]


def test_judgements_have_their_line(tmp_path):
    path = write(tmp_path / "j.jsonl", JUDGEMENT, JUDGEMENT | {"question_id": "2"})
    assert list(read_judgements(path)) == [Judgement("1", "d1", 3, 1), Judgement("2", "d1", 3, 2)]


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        ([], ["holds no question"]),
        (["{broken"], ["line 1", "not valid JSON"]),
        ([QUESTION, "3"], ["line 2", "expected an object"]),
        ([QUESTION, QUESTION], ["line 2", 'field "question_id"', "twice"]),
        ([QUESTION, QUESTION | {"question_id": "1"}], ["line 2", "twice"]),
        ([{"summary": "x"}], ["line 1", 'field "question_id"', "missing"]),
        ([QUESTION | {"question_id": None}], ["line 1", 'field "question_id"', "None"]),
        ([QUESTION | {"question_id": True}], ["line 1", "True"]),
        ([QUESTION | {"summary": " "}], ["line 1", 'field "summary"', "empty"]),
        ([QUESTION | {"summary": ["x"]}], ["line 1", 'field "summary"', "['x']"]),
        ([{"question_id": 1, "subject": "x"}], ["line 1", 'field "summary"', "missing", "question_id, subject"]),
    ],
)
def test_faults_of_questions_name_file_line_and_field(tmp_path, lines, parts):
    path = write(tmp_path / "q.jsonl", *lines)
    with pytest.raises(InputError) as caught:
        read_retrieval_questions(path, ["summary"])
    for part in [str(path), *parts]:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        ([], ["holds no judgement"]),
        (["{broken"], ["line 1", "not valid JSON"]),
        ([JUDGEMENT, JUDGEMENT | {"grade": 1}], ["line 2", 'field "doc_id"', '"d1"', "line 1 already"]),
        ([JUDGEMENT | {"grade": 0}], ["line 1", 'field "grade"', "from 1 to 4", "0"]),
        ([JUDGEMENT | {"grade": 5}], ["line 1", "5"]),
        ([JUDGEMENT | {"grade": "3"}], ["line 1", "'3'"]),
        ([JUDGEMENT | {"grade": 2.5}], ["line 1", "2.5"]),
        ([JUDGEMENT | {"grade": True}], ["line 1", "True"]),
        ([JUDGEMENT, {"question_id": 1, "grade": 3}], ["line 2", 'field "doc_id"', "missing"]),
    ],
)
def test_faults_of_judgements_name_file_line_and_field(tmp_path, lines, parts):
    path = write(tmp_path / "j.jsonl", *lines)
    with pytest.raises(InputError) as caught:
        list(read_judgements(path))
    for part in [str(path), *parts]:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "read", [lambda path: read_retrieval_questions(path, ["x"]), lambda p: list(read_judgements(p))]
)
def test_an_absent_file_is_named(tmp_path, read):
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "none.jsonl")
