"""Reads benchmarks, multiple-choice questions with a gold answer, from any of three file formats.

The content of a file decides how it is read, not its name:

- It starts with `[`: one JSON list of items. The released form of the MedSSR benchmarks has `id`, `question` (the stem
  and, below it, the options as lines "A. text"), `gold` (a letter) and `name`. MedXpertQA's own form has `id`,
  `question`, `options` and `label`. Other fields of an item (`is_reasoning`, `adversarial_trace_0`, `body_system` ...)
  become the provenance of its question.
- It starts with `{`: JSONL with an item of either form, or a question as `medssr.questions.read_questions` reads it,
  on each line. The fields of the first line say which.

The texts are taken as they are, defects included, so that scores compare with those of others on the same file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from medssr.benchmarks.dataset_schemas import MEDXPERTQA, RELEASED, ItemForm, question_from_item
from medssr.errors import InputError
from medssr.questions import FieldError, Question, read_questions
from medssr.utils.files import read_jsonl

_FORMS = (RELEASED, MEDXPERTQA)
_SPACE = re.compile(r"\s*")


def load_benchmark(path: Path | str) -> list[Question]:
    """Returns the questions of a benchmark file in its order, each with its gold answer.

    Raises:
        InputError: When the file is absent, empty, of none of the formats or no valid JSON, an item lacks a field
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
        return _load_list(text, path)
    if start == "{":
        return _load_jsonl(path)
    found = f"starts with {text.lstrip()[:40]!r}" if start else "is empty"
    raise InputError.at(path, f"{found}; expected a JSON list of benchmark items or question JSONL.")


def benchmark_files(path: str) -> dict[str, Path]:
    """Returns the benchmark files that a path names, by benchmark name: one file, or all of a folder.

    Raises:
        InputError: When there is none, or two of a folder are the same benchmark by their names.
    """
    source = Path(path)
    files = sorted([*source.glob("*.json"), *source.glob("*.jsonl")]) if source.is_dir() else [source]
    if not files or not all(file.is_file() for file in files):
        raise InputError.at(source, "there is no benchmark file (.json or .jsonl) here.", field="benchmark.path")
    file_of_name: dict[str, Path] = {}
    for file in files:
        name = benchmark_name(file)
        if name in file_of_name:
            problem = f"{file_of_name[name].name} and {file.name} are both the benchmark {name}; keep one."
            raise InputError.at(source, problem, field="benchmark.path")
        file_of_name[name] = file
    return file_of_name


def benchmark_name(file: Path) -> str:
    """Returns the name of a file's benchmark: the released test_short_medqa.json is medqa.

    Example:
        >>> benchmark_name(Path("data/test_short_medqa.json"))
        'medqa'
    """
    return file.stem.removeprefix("test_short_")


def questions_of_items(
    items: Iterable[tuple[int, Any]],
    form: ItemForm,
    source: str,
    error_at: Callable[[int, str, str | None], InputError],
) -> list[Question]:
    """Returns the questions of numbered items.

    Args:
        items: Number (or line) and item.
        form: The form of all of them.
        source: The source of items that name none.
        error_at: Makes the error for an item's number, a problem and a field.

    Raises:
        InputError: When an item is no question with a gold answer, or an id occurs twice.
    """
    number_of_id: dict[str, int] = {}
    questions = []
    for number, item in items:
        if not isinstance(item, Mapping):
            raise error_at(number, f"found {type(item).__name__} {item!r:.60}, expected an object.", None)
        try:
            question = question_from_item(item, form, source, number)
        except FieldError as error:
            raise error_at(number, error.problem, error.field) from error
        first = number_of_id.setdefault(question.id, number)
        if first != number:
            problem = f'"{question.id}" is the id of item {first} already; make the ids unique.'
            raise error_at(number, problem, form.id)
        questions.append(question)
    return questions


def _read_text(path: Path) -> str:
    """Returns the file's text without a byte-order mark."""
    if not path.is_file():
        raise InputError.at(path, "there is no such file; check the path of the benchmark.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError.at(path, f"is not UTF-8 text ({error.reason} at byte {error.start}); convert it.") from error


def _load_jsonl(path: Path) -> list[Question]:
    _, first = next(read_jsonl(path))
    form = _form_of(first)
    if form is None:
        return _load_questions(path)
    return questions_of_items(
        read_jsonl(path),
        form,
        path.stem,
        lambda line, problem, field: InputError.at(path, problem, line=line, field=field),
    )


def _load_questions(path: Path) -> list[Question]:
    questions = []
    for (line, _), question in zip(read_jsonl(path), read_questions(path), strict=True):
        if question.answer is None:
            problem = "is missing or null; a benchmark needs the gold letter of every question."
            raise InputError.at(path, problem, line=line, field="answer")
        questions.append(question)
    return questions


def _load_list(text: str, path: Path) -> list[Question]:
    try:
        items = json.loads(text)
    except json.JSONDecodeError as error:
        problem = f"is not valid JSON ({error.msg}, column {error.colno}); was the file written or copied whole?"
        raise InputError.at(path, problem, line=error.lineno) from error
    if not items:
        raise InputError.at(path, "is an empty list; a benchmark holds at least one question.")
    form = (_form_of(items[0]) if isinstance(items[0], Mapping) else None) or RELEASED

    def error_at(number: int, problem: str, field: str | None) -> InputError:
        line = _line_of_item(text, number)
        return InputError.at(f"{path}, item {number}", f"{problem} The item starts on line {line}.", field=field)

    return questions_of_items(enumerate(items, start=1), form, path.stem, error_at)


def _form_of(item: Mapping[str, Any]) -> ItemForm | None:
    """Returns the form whose fields an item has or comes closest to; None for a question record."""
    if "stem" in item:
        return None
    num_fields = {form: sum(name in item for name in form.required) / len(form.required) for form in _FORMS}
    best = max(_FORMS, key=lambda form: num_fields[form])
    return best if best.question in item or best.answer in item else None


def _line_of_item(text: str, number: int) -> int:
    """Returns the line on which an item of a JSON list starts."""
    decoder = json.JSONDecoder()
    position = text.index("[") + 1
    for _ in range(number - 1):
        _, end = decoder.raw_decode(text, _skip_space(text, position))
        position = _skip_space(text, end) + 1  # behind the comma
    return text.count("\n", 0, _skip_space(text, position)) + 1


def _skip_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    assert match is not None
    return match.end()
