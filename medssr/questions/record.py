"""The question record: reads, writes and mixes question files, renders questions and parses lettered text."""

from __future__ import annotations

import hashlib
import json
import re
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from medssr.errors import InputError
from medssr.utils.files import hash_file, read_jsonl, write_lines_atomically

LETTERS = string.ascii_uppercase
_WORD = re.compile(r"\w+")
_OPTION_LINE = re.compile(r"^\s*([A-Z])[.)]\s?(.*)$")


class FieldError(ValueError):
    """A field of a record breaks a rule; `field` names it, so that a reader can add file and line."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f'field "{name}": {problem}')
        self.field = name
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Question:
    """One multiple-choice question.

    Attributes:
        id: Unique within its file; rollout seeds derive from it.
        stem: The question text without its options.
        options: Option text by letter, lettered A, B, C ... in order.
        answer: Letter of the gold answer or pseudo-label; None while unlabelled.
        source: Where the question comes from ("grounded", "medqa", ...).
        entity: The disease that it is about; None where it is unknown.
        is_rare: Whether that disease is rare by the entity list's definition; None where nobody has decided.
        provenance: How it was made. May hold the hidden truth of a synthetic question, which nothing in labelling or
            training reads.
    """

    id: str
    stem: str
    options: dict[str, str]
    answer: str | None
    source: str
    entity: str | None = None
    is_rare: bool | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises FieldError for the first field that breaks the record's rules."""
        for name, problem in _problems(self):
            raise FieldError(name, problem)

    @property
    def content_key(self) -> str:
        """A hash of stem and option texts that ignores case, punctuation and the order of the options."""
        return _content_key(self.stem, *self.options.values())


def render_question(question: Question) -> str:
    r"""Returns stem and lettered options, one a line, as prompts and the released benchmarks have them.

    Example:
        >>> render_question(Question("q", "Which organ?", {"A": "liver", "B": "heart"}, "A", "example"))
        'Which organ?\nA. liver\nB. heart'
    """
    return "\n".join([question.stem, *(f"{letter}. {text}" for letter, text in question.options.items())])


def parse_lettered_text(text: str) -> tuple[str, dict[str, str]]:
    r"""Returns the stem and the options of a text that ends in lettered lines.

    The options are the last run of lines A, B, C ... that reaches the end of the text: a stem may hold lettered lines
    of its own. A line without a letter continues the option above it.

    Raises:
        ValueError: When no run of at least two options reaches the end.

    Example:
        >>> parse_lettered_text("Which organ?\nA. liver\nB. heart")
        ('Which organ?', {'A': 'liver', 'B': 'heart'})
    """
    lines = text.rstrip().split("\n")
    starts = [(index, match) for index, line in enumerate(lines) if (match := _OPTION_LINE.match(line))]
    first = max((index for index, (_, match) in enumerate(starts) if match[1] == "A"), default=None)
    if first is None or len(starts) - first < 2:
        raise ValueError("no lettered options (lines that start with 'A. ', 'B. ', ...) at the end of the text")
    run = starts[first:]
    letters = [match[1] for _, match in run]
    if letters != list(LETTERS[: len(letters)]):
        raise ValueError(f"the options are lettered {', '.join(letters)}, not A, B, C ... in order")
    ends = [index for index, _ in run[1:]] + [len(lines)]
    options = {
        match[1]: "\n".join([match[2], *lines[index + 1 : end]]).strip()
        for (index, match), end in zip(run, ends, strict=True)
    }
    return "\n".join(lines[: run[0][0]]).strip(), options


def read_questions(path: Path | str) -> Iterator[Question]:
    """Yields the questions of a JSONL file, one object a line.

    Raises:
        InputError: When the file is absent or empty, a line is no JSON object, a field is missing, unknown, of the
            wrong type or inconsistent, or an id occurs twice. The message names file, line and field.
    """
    path = Path(path)
    line_of_id: dict[str, int] = {}
    for line, record in read_jsonl(path):
        question = question_from_record(record, path, line)
        if question.id in line_of_id:
            problem = f'"{question.id}" was used on line {line_of_id[question.id]} already; ids are unique.'
            raise InputError.at(path, problem, line=line, field="id")
        line_of_id[question.id] = line
        yield question
    if not line_of_id:
        raise InputError.at(path, "holds no question.")


def read_labelled_questions(path: Path | str) -> list[Question]:
    """Returns the questions of a JSONL file, all of which have an answer.

    Raises:
        InputError: As `read_questions`, and when a question has no label.
    """
    questions = list(read_questions(path))
    for question in questions:
        if question.answer is None:
            problem = f'question "{question.id}" has no label; run medssr-pseudo-label on the file first.'
            raise InputError.at(path, problem, field="answer")
    return questions


def write_questions(path: Path | str, questions: Iterable[Question]) -> int:
    """Writes the questions as JSONL, whole or not at all, and returns how many there were."""
    return write_lines_atomically(Path(path), (question_to_json(question) for question in questions))


def mix_questions(paths: Sequence[Path], folder: Path) -> Path:
    """Returns a file in `folder` with the questions of all files; its name is a hash of their content.

    Ids get the index of their file as a prefix, so that they stay unique.
    """
    name = hashlib.sha256("\n".join(hash_file(path) for path in paths).encode()).hexdigest()[:16]
    mixed = folder / f"{name}.jsonl"
    if not mixed.is_file():
        write_questions(
            mixed,
            (
                replace(question, id=f"{index}-{question.id}")
                for index, path in enumerate(paths)
                for question in read_questions(path)
            ),
        )
    return mixed


def question_to_json(question: Question) -> str:
    """Returns the question as one line of JSON."""
    # Not by asdict, which copies every value and takes ten times as long.
    record = {name: getattr(question, name) for name in Question.__dataclass_fields__}
    return json.dumps(record, ensure_ascii=False)


def question_from_record(record: Mapping[str, Any], path: Path, line: int) -> Question:
    """Returns the question that a decoded JSON object describes.

    Raises:
        InputError: When a field is missing, unknown, of the wrong type or inconsistent.
    """
    fields = Question.__dataclass_fields__
    for name in ("id", "stem", "options"):
        if name not in record:
            raise InputError.at(path, "is missing.", line=line, field=name)
    for name in record:
        if name not in fields:
            raise InputError.at(path, f"is unknown; the fields are {', '.join(fields)}.", line=line, field=name)
    try:
        return Question(**({"answer": None, "source": path.stem} | dict(record)))
    except FieldError as error:
        raise InputError.at(path, error.problem, line=line, field=error.field) from error


def _problems(question: Question) -> Iterator[tuple[str, str]]:
    """Yields (field, problem) for each rule that the record breaks, the types first."""
    for name in ("id", "stem", "source"):
        value = getattr(question, name)
        if not isinstance(value, str) or not value.strip():
            yield name, f"expected a text that is not empty, found {value!r}."
    options = question.options
    if not isinstance(options, dict) or not all(isinstance(text, str) for text in options.values()):
        yield "options", f"expected an object of letter to text, found {options!r}."
        return
    if list(options) != list(LETTERS[: len(options)]) or len(options) < 2:
        yield "options", f"expected at least two options lettered A, B, C ... in order, found {list(options)}."
    for letter, text in options.items():
        if not text.strip():
            yield "options", f"option {letter} is empty."
    if question.answer is not None and not (isinstance(question.answer, str) and question.answer in options):
        yield "answer", f"{question.answer!r} is no option; the options are {', '.join(options)}."
    if not (question.entity is None or isinstance(question.entity, str)):
        yield "entity", f"expected a text or null, found {question.entity!r}."
    if not (question.is_rare is None or isinstance(question.is_rare, bool)):
        yield "is_rare", f"expected true, false or null, found {question.is_rare!r}."
    if not isinstance(question.provenance, dict):
        yield "provenance", f"expected an object, found {question.provenance!r}."


@lru_cache(maxsize=2**15)  # comparisons ask for the same questions many times
def _content_key(stem: str, *options: str) -> str:
    # Not by `words_key`, which drops diacritics and apostrophes: keys are of exact words, the same in every release.
    texts = [" ".join(_WORD.findall(text.casefold())) for text in (stem, *options)]
    return hashlib.sha256("\n".join([texts[0], *sorted(texts[1:])]).encode()).hexdigest()
