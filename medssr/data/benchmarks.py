"""Benchmarks: multiple-choice questions with a gold answer, read from either of two file formats.

What a file holds decides how it is read, not how it is named:

- It starts with `[`: the released form of the MedSSR benchmarks, one JSON list of items with `id`, `question` (the
  stem and, below it, the options as lines "A. text"), `gold` (a letter) and `name`. Other fields of an item
  (`is_reasoning`, `reasoning_prob`, `adversarial_trace_0`, ...) become the provenance of its question.
- It starts with `{`: question JSONL as `medssr.questions.read_questions` reads it.

The texts are taken as they are, defects included, so that scores compare with those of others on the same file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medssr.errors import InputError
from medssr.questions import FieldError, Question, parse_lettered_text, read_questions
from medssr.utils.files import read_jsonl

_REQUIRED = ("id", "question", "gold")
_RELEASED_NAME = {"id": "id", "stem": "question", "options": "question", "answer": "gold", "source": "name"}


def load_benchmark(path: Path | str) -> list[Question]:
    """Returns the questions of a benchmark file in its order, each with its gold answer.

    Raises:
        InputError: When the file is absent, empty, neither of the two formats or no valid JSON, an item lacks a field
            or its gold answer, the gold answer is no option, the options cannot be told from the stem, or an id
            occurs twice. The message names the file, the item (the line in JSONL), the field, what was found and
            what to do.

    Example:
        >>> load_benchmark("medqa.json")[0].answer  # doctest: +SKIP
        'D'
    """
    path = Path(path)
    text = _read_text(path)
    start = text.lstrip()[:1]
    if start == "[":
        return _parse_released_list(text, path)
    if start == "{":
        return _load_jsonl(path)
    found = f"starts with {text.lstrip()[:40]!r}" if start else "is empty"
    raise InputError.at(path, f"{found}; expected a JSON list of benchmark items or question JSONL.")


def _read_text(path: Path) -> str:
    """Returns the file's text without a byte-order mark."""
    if not path.is_file():
        raise InputError.at(path, "there is no such file; check the path of the benchmark.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError.at(path, f"is not UTF-8 text ({error.reason} at byte {error.start}); convert it.") from error


def _load_jsonl(path: Path) -> list[Question]:
    questions = []
    for (line, _), question in zip(read_jsonl(path), read_questions(path), strict=True):
        if question.answer is None:
            problem = "is missing or null; a benchmark needs the gold letter of every question."
            raise InputError.at(path, problem, line=line, field="answer")
        questions.append(question)
    return questions


def _parse_released_list(text: str, path: Path) -> list[Question]:
    try:
        items = json.loads(text)
    except json.JSONDecodeError as error:
        problem = f"is not valid JSON ({error.msg}, column {error.colno}); was the file written or copied whole?"
        raise InputError.at(path, problem, line=error.lineno) from error
    if not items:
        raise InputError.at(path, "is an empty list; a benchmark holds at least one question.")
    number_of_id: dict[str, int] = {}
    questions = []
    for number, item in enumerate(items, start=1):
        question = _question_from_item(item, path, number)
        if question.id in number_of_id:
            problem = f'"{question.id}" is the id of item {number_of_id[question.id]} already; make the ids unique.'
            raise _item_error(path, number, problem, "id")
        number_of_id[question.id] = number
        questions.append(question)
    return questions


def _question_from_item(item: Any, path: Path, number: int) -> Question:
    """Returns the question that one item of the released list describes."""
    if not isinstance(item, Mapping):
        raise _item_error(path, number, f"found {type(item).__name__} {item!r:.60}, expected an object.")
    for name in _REQUIRED:
        if item.get(name) is None:
            found = "is null" if name in item else "is missing"
            problem = f"{found}; every item needs {', '.join(_REQUIRED)}. Found {', '.join(item)}."
            raise _item_error(path, number, problem, name)
    if not isinstance(item["question"], str):
        raise _item_error(path, number, f"found {item['question']!r:.60}, expected a text.", "question")
    try:
        stem, options = parse_lettered_text(item["question"])
    except ValueError as error:
        problem = f"{error}; found a text that ends in {item['question'][-60:]!r}. Give one option a line: 'A. text'."
        raise _item_error(path, number, problem, "question") from error
    try:
        return Question(
            id=item["id"],
            stem=stem,
            options=options,
            answer=item["gold"],
            source=item.get("name", path.stem),
            provenance={name: value for name, value in item.items() if name not in (*_REQUIRED, "name")},
        )
    except FieldError as error:
        raise _item_error(path, number, error.problem, _RELEASED_NAME[error.field]) from error


def _item_error(path: Path, number: int, message: str, field: str | None = None) -> InputError:
    return InputError.at(f"{path}, item {number}", message, field=field)


def benchmark_files(path: str) -> dict[str, Path]:
    """Returns the benchmark files that a path names, by benchmark name: one file, or all of a folder.

    Raises:
        InputError: When there is none.
    """
    place = Path(path)
    files = sorted([*place.glob("*.json"), *place.glob("*.jsonl")]) if place.is_dir() else [place]
    if not files or not all(file.is_file() for file in files):
        raise InputError.at(place, "there is no benchmark file (.json or .jsonl) here.", field="benchmark.path")
    return {file.stem: file for file in files}
