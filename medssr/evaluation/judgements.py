"""Questions for retrieval and the judgements of documents, from JSONL files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medssr.errors import InputError
from medssr.evaluation.ranking import MAX_GRADE, MIN_GRADE
from medssr.utils.files import read_jsonl


@dataclass(frozen=True, slots=True)
class RetrievalQuestion:
    """What is asked of a retriever."""

    id: str
    query: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """How well a document answers a question, and the line that says so."""

    question_id: str
    document_id: str
    grade: int
    line: int


def read_retrieval_questions(path: Path | str, query_fields: Sequence[str]) -> list[RetrievalQuestion]:
    """Returns the questions of a JSONL file, each with the texts of some of its fields as its query.

    Raises:
        InputError: When the file is absent, empty or broken, a field is missing, all of a question's fields are empty,
            or an id is used twice. The message names file, line and field.
    """
    path = Path(path)
    questions: dict[str, RetrievalQuestion] = {}
    for line, record in read_jsonl(path):
        question_id = _id(record, "question_id", path, line)
        if question_id in questions:
            raise InputError.at(path, f'"{question_id}" is used twice; ids are unique.', line=line, field="question_id")
        texts = [_text(record, field, path, line) for field in query_fields]
        query = " ".join(text for text in texts if text)
        if not query:
            raise InputError.at(path, "is empty; a question needs a text.", line=line, field=", ".join(query_fields))
        questions[question_id] = RetrievalQuestion(question_id, query)
    if not questions:
        raise InputError.at(path, "holds no question; give a JSONL file with one question a line.")
    return list(questions.values())


def read_judgements(path: Path | str) -> Iterator[Judgement]:
    """Yields the judgements of a JSONL file of question_id, doc_id and grade.

    Raises:
        InputError: When the file is absent, empty or broken, a field is missing or has another type, a grade lies
            outside 1 to 4, or a document is judged twice for a question. The message names file, line and field.
    """
    path = Path(path)
    line_of: dict[tuple[str, str], int] = {}
    for line, record in read_jsonl(path):
        key = _id(record, "question_id", path, line), _id(record, "doc_id", path, line)
        if key in line_of:
            problem = f'"{key[1]}" was judged for question "{key[0]}" on line {line_of[key]} already; keep one.'
            raise InputError.at(path, problem, line=line, field="doc_id")
        line_of[key] = line
        grade = _field(record, "grade", path, line)
        if not isinstance(grade, int) or isinstance(grade, bool) or not MIN_GRADE <= grade <= MAX_GRADE:
            problem = f"expected a whole number from {MIN_GRADE} to {MAX_GRADE}, found {grade!r}."
            raise InputError.at(path, problem, line=line, field="grade")
        yield Judgement(*key, grade, line)
    if not line_of:
        raise InputError.at(path, "holds no judgement; give a JSONL file with one judgement a line.")


def _field(record: Mapping[str, Any], name: str, path: Path, line: int) -> Any:
    if name not in record:
        raise InputError.at(path, f"is missing; the line has {', '.join(record)}.", line=line, field=name)
    return record[name]


def _id(record: Mapping[str, Any], name: str, path: Path, line: int) -> str:
    value = _field(record, name, path, line)
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).strip():
        raise InputError.at(path, f"expected a number or a text, found {value!r}.", line=line, field=name)
    return str(value).strip()


def _text(record: Mapping[str, Any], name: str, path: Path, line: int) -> str:
    value = _field(record, name, path, line)
    if not isinstance(value, str | None):
        raise InputError.at(path, f"expected a text, found {value!r}.", line=line, field=name)
    return (value or "").strip()
