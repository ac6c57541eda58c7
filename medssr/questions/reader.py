"""Reads questions from files of every form: the one reader of all commands.

`open_records` finds the records in a file (JSON, CSV, Parquet, folders ...), `find_layout` the form that they have, and
`QuestionFile` makes them questions. Texts are taken as they are, defects included, so that scores compare with those of
others on the same file; letters that options carry in their texts are the exception.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medssr.errors import InputError
from medssr.questions.forms import Layout, find_layout, question_from_fields, read_options
from medssr.questions.gold import IndexBase, base_of_indices, is_absent, whole_number
from medssr.questions.lettered_text import without_letters
from medssr.questions.record import FieldError, Question, write_questions
from medssr.questions.table_headers import column_name, headerless_names, renamed
from medssr.utils.files import hash_path, write_json_atomically
from medssr.utils.records import Record, RecordFile, open_records, source_name

log = logging.getLogger(__name__)

OWN_FORM = "medssr"
# Names of the lists and objects that hold the records of one data set; other names are those of data sets.
_WRAPPERS = frozenset({"data", "questions", "rows", "row", "items", "examples", "instances", "exams"})
_SPLITS = frozenset({"train", "test", "dev", "validation"})


@dataclass(frozen=True, slots=True)
class QuestionFile:
    """A file of questions, and what it was taken for.

    Attributes:
        path: The file or folder.
        records: Its records.
        layout: The form of its records; None for question records of medssr itself.
    """

    path: Path
    records: RecordFile
    layout: Layout | None

    @property
    def description(self) -> str:
        """Returns the form and what holds it: "MedQA, JSONL"."""
        return f"{OWN_FORM if self.layout is None else self.layout.form.name}, {self.records.container}"

    @property
    def gold_field(self) -> str:
        """Returns the field of the gold answer."""
        return "answer" if self.layout is None else self.layout.gold

    def questions(self) -> Iterator[Question]:
        """Yields the questions in the order of the file. Raises as `items` does."""
        for _, question in self.items():
            yield question

    def items(self, beside: str | None = None) -> Iterator[tuple[Record, Question]]:
        """Yields each record with its question.

        Args:
            beside: A field that stands beside those of the question, as `completion` in demonstrations.

        Raises:
            InputError: When there is no question, a field is missing, of the wrong type or inconsistent, or an id
                occurs twice. The message names file, line and field.
        """
        first_use: dict[str, tuple[int, int | None]] = {}  # number and line of its record, by id
        source = source_name(self.path)  # once: it asks the disk
        for number, record in enumerate(self.records, start=1):
            fields = record.value
            if beside is not None:
                fields = {name: value for name, value in fields.items() if name != beside}
            try:
                question = self._question(fields, record, number, source)
            except FieldError as error:
                raise record.error(error.problem, error.field) from error
            first, line = first_use.setdefault(question.id, (number, record.line))
            if first != number:
                first_position = f"row {first}" if line is None else f"line {line}"
                problem = f'"{question.id}" was used on {first_position} already; ids are unique.'
                raise record.error(problem, "id" if self.layout is None else self.layout.id)
            yield record, question
        if not first_use:
            raise InputError.at(self.path, "holds no question.")

    def _question(self, fields: Mapping[str, Any], record: Record, number: int, source: str) -> Question:
        if self.layout is None:
            return question_from_record(fields, source)
        names = [key for key in record.keys if isinstance(key, str)]
        is_keyed = bool(names) and not any(isinstance(key, int) for key in record.keys)
        groups = [name for name in (names[:-1] if is_keyed else names) if name not in _WRAPPERS | _SPLITS]
        prefix = f"{groups[-1]}-" if groups else ""
        return question_from_fields(
            renamed(fields) if self.records.is_table else fields,
            self.layout,
            groups[-1] if groups else source,
            id_if_none=names[-1] if is_keyed else str(number),
            prefix=prefix,
        )


def open_questions(path: Path | str) -> QuestionFile:
    """Returns the question file at a path, and logs what it was taken for.

    Raises:
        InputError: When the file is absent or broken, or no question can be read from its fields.
    """
    path = Path(path)
    records = open_records(path, _is_question, headerless_names)
    first = next(iter(records), None)
    if first is None:
        raise InputError.at(path, "holds no question.")
    if "stem" in first.value and not records.is_table:
        return QuestionFile(path, records, layout=None)
    names = dict.fromkeys(name for record in records for name in record.value)
    if records.is_table:
        names = _column_names(names, first)
    layout = find_layout(names)
    if layout is None:
        is_own = names.keys() <= Question.__dataclass_fields__.keys()
        field = "options" if "question" in names else "stem" if is_own else "question"
        problem = (
            f"is missing; found {', '.join(map(str, names)) or 'no field'}. No form of question file has these fields: "
            "a question needs a text, options and, for training and evaluation, a gold answer."
        )
        raise first.error(problem, field)
    if layout.form.index_base is IndexBase.from_data:
        layout = replace(layout, index_base=_index_base(records, layout))
    question_file = QuestionFile(path, records, layout)
    answers = "" if layout.gold in names else ", without gold answers"
    counting = "" if layout.index_base is None else f", {layout.gold} counted from {layout.index_base}"
    log.info("%s: read as %s%s%s", path, question_file.description, counting, answers)
    return question_file


def read_questions(path: Path | str) -> Iterator[Question]:
    """Yields the questions of a file of any form, with or without answers.

    Raises:
        InputError: As `open_questions` and `QuestionFile.items` do.
    """
    yield from open_questions(path).questions()


def read_labelled_questions(path: Path | str) -> list[Question]:
    """Returns the questions of a file of any form, all of which have an answer.

    Raises:
        InputError: As `read_questions`, and when a question has no answer.
    """
    return answered(open_questions(path), "run medssr-pseudo-label on the file first, or give one with gold answers.")


def answered(file: QuestionFile, remedy: str) -> list[Question]:
    """Returns the questions of a file.

    Args:
        file: The file.
        remedy: What to do where a question has no answer.

    Raises:
        InputError: When a question has no answer; the message names its line and the field that should hold it.
    """
    questions = []
    for record, question in file.items():
        if question.answer is None:
            raise record.error(f'is missing or null: question "{question.id}" has no label; {remedy}', file.gold_field)
        questions.append(question)
    return questions


def mix_questions(paths: Sequence[Path], folder: Path) -> Path:
    """Returns a file in `folder` with the questions of all files; its name is a hash of their content.

    Ids get the index of their file as a prefix, so that they stay unique.
    """
    parts = [hash_path(path) for path in paths]
    name = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    mixed, record = folder / f"{name}.jsonl", folder / f"{name}.json"
    if not _is_as_written(mixed, record, parts):
        write_questions(
            mixed,
            (
                replace(question, id=f"{index}-{question.id}")
                for index, path in enumerate(paths)
                for question in read_questions(path)
            ),
        )
        write_json_atomically(record, {"sha256": hash_path(mixed), "parts": parts})
    return mixed


def _is_as_written(file: Path, record: Path, parts: list[str]) -> bool:
    """Returns whether a file is there with the hash that is recorded beside it, and so are the hashes of its parts."""
    try:
        return bool(json.loads(record.read_text(encoding="utf-8")) == {"sha256": hash_path(file), "parts": parts})
    except (OSError, ValueError):
        return False  # one of them is absent or damaged


def question_from_record(fields: Mapping[str, Any], source: str) -> Question:
    """Returns the question in a record of medssr's own form.

    Raises:
        FieldError: When a field is missing, unknown, of the wrong type or inconsistent.
    """
    names = Question.__dataclass_fields__
    for name in ("id", "stem", "options"):
        if name not in fields:
            raise FieldError(name, f"is missing; every question needs id, stem and options. Found {', '.join(fields)}.")
    if not fields.keys() <= names.keys():
        name = next(name for name in fields if name not in names)
        raise FieldError(name, f"is unknown; the fields are {', '.join(names)}.")
    values = {"answer": None, "source": source} | dict(fields)
    options = values["options"]
    if isinstance(options, dict) and all(isinstance(text, str) for text in options.values()):
        values["options"] = dict(zip(options, without_letters(list(options.values())), strict=True))
    return Question(**values)


def _is_question(value: Mapping[str, Any]) -> bool:
    if "stem" in value:
        return True
    layout = find_layout(value)
    return layout is not None and isinstance(value[layout.form.question], str)


def _column_names(names: Iterable[str], first: Record) -> dict[str, None]:
    """Returns the names of a table's columns as the forms have them. Raises InputError where two become the same."""
    spellings: dict[str, str] = {}
    for name in names:
        other = spellings.setdefault(column_name(name), name)
        if other != name:
            raise first.error(f'is the same column as "{other}"; rename one.', name)
    return dict.fromkeys(spellings)


def _index_base(records: RecordFile, layout: Layout) -> int | None:
    """Returns what whole numbers as gold answers count from, by those of the whole file; None where there are none."""
    golds: defaultdict[int, set[int]] = defaultdict(set)
    first: Record | None = None
    for record in records:
        fields = renamed(record.value) if records.is_table else record.value
        number = whole_number(fields.get(layout.gold))
        if number is None or is_absent(number):
            continue
        try:
            options = read_options(fields, layout)
        except FieldError as error:
            raise record.error(error.problem, error.field) from error
        if any(str(number) in (option.label, option.text.strip()) for option in options):
            continue  # the gold answer names an option by its label or its text
        text = fields.get(layout.form.gold_text) if layout.form.gold_text not in (None, layout.gold) else None
        same = [index for index, option in enumerate(options) if option.text.strip() == str(text).strip()]
        if len(same) == 1 and number - same[0] in (0, 1):
            return number - same[0]  # the text of the gold answer says which option the number means
        first = first or record
        golds[len(options)].add(number)
    if first is None:
        return None
    try:
        return base_of_indices(golds)
    except ValueError as error:
        raise first.error(str(error), layout.gold) from error
