"""The rubric by which judge model and human experts rate a question, in the same words, and their verdicts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from medssr.errors import shown
from medssr.questions import FieldError

RATINGS = (1, 2, 3, 4, 5)


class Kind(Enum):
    """The form of an answer to a criterion."""

    yes_no = "yes_no"
    letter = "letter"
    rating = "rating"
    text = "text"


@dataclass(frozen=True, slots=True)
class Criterion:
    """One thing that is asked about a question.

    Attributes:
        name: Field of `Verdict`, column of the sheet, property of the judge's reply.
        title: A few words for the sheet.
        text: The question as judge and experts read it.
        kind: The form of the answer.
    """

    name: str
    title: str
    text: str
    kind: Kind


CRITERIA = (
    Criterion(
        "is_answerable",
        "Answerable",
        "Can it be answered as it stands, without a figure, a table or other information that is missing?",
        Kind.yes_no,
    ),
    Criterion(
        "has_one_best_answer",
        "One best answer",
        "Is exactly one of the options the best answer: not none of them, and not several that are equally good?",
        Kind.yes_no,
    ),
    Criterion(
        "best_answer",
        "Best answer",
        "Which option is the best answer? To be left out where there is no single one.",
        Kind.letter,
    ),
    Criterion(
        "is_factual",
        "Factually right",
        "Is what the question states or takes for granted right? Where passages are given they decide; they may be "
        "silent, and then medical knowledge does. A wrong option is no error, since it is meant to be wrong.",
        Kind.yes_no,
    ),
    Criterion(
        "plausibility",
        "Plausibility",
        "How plausible is it as a question of a medical examination? 1: no examiner would ask this; 5: it could stand "
        "in an examination as it is.",
        Kind.rating,
    ),
    Criterion(
        "difficulty",
        "Difficulty",
        "How difficult is it for a physician in training? 1: anybody would know; 5: only a specialist would.",
        Kind.rating,
    ),
    Criterion("comment", "Comment", "What is wrong, where something is; else anything worth knowing.", Kind.text),
)
# The criteria that every verdict must have.
REQUIRED = tuple(item.name for item in CRITERIA if item.kind in (Kind.yes_no, Kind.rating))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict of one rater on one question.

    Attributes:
        is_answerable: Whether it can be answered as it stands.
        has_one_best_answer: Whether exactly one option is the best answer.
        best_answer: The letter of that option; None where there is none.
        is_factual: Whether it is factually right, by the passages where there are any.
        plausibility: 1 to 5.
        difficulty: 1 to 5.
        comment: In the rater's words; may be empty.
    """

    is_answerable: bool
    has_one_best_answer: bool
    best_answer: str | None
    is_factual: bool
    plausibility: int
    difficulty: int
    comment: str

    @property
    def is_error(self) -> bool:
        """Whether the question is wrong: not answerable, without exactly one best answer, or not factually right."""
        return not (self.is_answerable and self.has_one_best_answer and self.is_factual)


def verdict_from_record(record: Mapping[str, Any], letters: Collection[str]) -> Verdict:
    """Returns the verdict that a record holds.

    Args:
        record: A value for each criterion. Where there is no single best answer, a letter for it is passed over.
        letters: Of the question's options.

    Raises:
        FieldError: For the first field that is missing or of the wrong form.

    Example:
        >>> fields = {"is_answerable": True, "has_one_best_answer": True, "best_answer": "B", "is_factual": False}
        >>> verdict_from_record(fields | {"plausibility": 4, "difficulty": 2, "comment": "outdated"}, "AB").is_error
        True
    """
    for item in CRITERIA:
        if item.name not in record:
            raise FieldError(item.name, "is missing.")
        value = record[item.name]
        if item.kind is Kind.yes_no and not isinstance(value, bool):
            raise FieldError(item.name, f"expected true or false, found {shown(value)}.")
        if item.kind is Kind.rating and (isinstance(value, bool) or value not in RATINGS):
            raise FieldError(item.name, f"expected a whole number from 1 to 5, found {shown(value)}.")
        if item.kind is Kind.text and not isinstance(value, str):
            raise FieldError(item.name, f"expected a text, found {shown(value)}.")
    letter = record["best_answer"] if record["has_one_best_answer"] else None
    if record["has_one_best_answer"] and not (isinstance(letter, str) and letter in letters):
        raise FieldError("best_answer", f"expected one of {', '.join(letters)}, found {shown(letter)}.")
    return Verdict(**{item.name: record[item.name] for item in CRITERIA} | {"best_answer": letter})


def verdict_schema(letters: Collection[str]) -> dict[str, Any]:
    """Returns the JSON schema of a judge's reply, the comment first: a model that has said why decides better."""
    forms: dict[Kind, dict[str, Any]] = {
        Kind.yes_no: {"type": "boolean"},
        Kind.letter: {"type": ["string", "null"], "enum": [*letters, None]},
        Kind.rating: {"type": "integer", "enum": list(RATINGS)},
        Kind.text: {"type": "string"},
    }
    properties = {item.name: forms[item.kind] for item in sorted(CRITERIA, key=lambda item: item.kind is not Kind.text)}
    return {
        "title": "verdict",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
