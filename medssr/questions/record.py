"""The question record: its rules, its text as prompts have it, and its line in a file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from medssr.errors import shown
from medssr.questions.lettered_text import LETTERS
from medssr.utils.files import write_lines_atomically
from medssr.utils.json_text import bad_character

_WORD = re.compile(r"\w+")
_LETTERS = tuple(LETTERS)


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
        if _is_plain(self):
            return
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
    return f"{question.stem}\n{render_options(question)}"


def render_options(question: Question) -> str:
    """Returns the lettered options, one a line."""
    return "\n".join(f"{letter}. {text}" for letter, text in question.options.items())


def write_questions(path: Path | str, questions: Iterable[Question]) -> int:
    """Writes the questions as JSONL, whole or not at all, and returns how many there were."""
    return write_lines_atomically(Path(path), (question_to_json(question) for question in questions))


def question_to_json(question: Question) -> str:
    """Returns the question as one line of JSON."""
    # Not by asdict, which copies every value and takes ten times as long.
    record = {name: getattr(question, name) for name in Question.__dataclass_fields__}
    return json.dumps(record, ensure_ascii=False)


def _is_plain(question: Question) -> bool:
    """Returns whether a record of ASCII texts keeps all rules; one that is not plain may keep them too.

    It takes a third of the time of `_problems`, and most records are plain.
    """
    options = question.options
    if type(options) is not dict or not 2 <= len(options) <= len(LETTERS):
        return False
    texts = [question.id, question.stem, question.source, *options.values()]
    if not all(type(text) is str and text.strip() for text in texts):
        return False
    together = "".join(texts)
    return (
        together.isascii()
        and "\0" not in together
        and tuple(options) == _LETTERS[: len(options)]
        and (question.answer is None or (type(question.answer) is str and question.answer in options))
        and (question.entity is None or type(question.entity) is str)
        and (question.is_rare is None or type(question.is_rare) is bool)
        and type(question.provenance) is dict
    )


def _problems(question: Question) -> Iterator[tuple[str, str]]:
    """Yields (field, problem) for each rule that the record breaks, the types first."""
    for name in ("id", "stem", "source"):
        value = getattr(question, name)
        if not isinstance(value, str) or not value.strip():
            yield name, f"expected a text that is not empty, found {shown(value)}."
        elif (problem := bad_character(value)) is not None:
            yield name, problem
    options = question.options
    if not isinstance(options, dict) or not all(isinstance(text, str) for text in options.values()):
        yield "options", f"expected an object of letter to text, found {shown(options)}."
        return
    if len(options) > len(LETTERS):
        yield "options", f"holds {len(options)} options; at most {len(LETTERS)} (A to Z) can be asked. Remove some."
    if list(options) != list(LETTERS[: len(options)]) or len(options) < 2:
        yield "options", f"expected at least two options lettered A, B, C ... in order, found {list(options)}."
    for letter, text in options.items():
        if not text.strip():
            yield "options", f"option {letter} is empty."
        elif (problem := bad_character(text)) is not None:
            yield "options", f"option {letter} {problem}"
    if question.answer is not None and not (isinstance(question.answer, str) and question.answer in options):
        yield "answer", f"{shown(question.answer)} is no option; the options are {', '.join(options)}."
    if not (question.entity is None or isinstance(question.entity, str)):
        yield "entity", f"expected a text or null, found {shown(question.entity)}."
    if not (question.is_rare is None or isinstance(question.is_rare, bool)):
        yield "is_rare", f"expected true, false or null, found {shown(question.is_rare)}."
    if not isinstance(question.provenance, dict):
        yield "provenance", f"expected an object, found {shown(question.provenance)}."


@lru_cache(maxsize=2**15)  # comparisons ask for the same questions many times
def _content_key(stem: str, *options: str) -> str:
    # Not by `words_key`, which drops diacritics and apostrophes: keys are of exact words, the same in every release.
    texts = [" ".join(_WORD.findall(text.casefold())) for text in (stem, *options)]
    return hashlib.sha256("\n".join([texts[0], *sorted(texts[1:])]).encode()).hexdigest()
