"""The answers of evaluations, and whether two evaluations asked the same questions in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medssr.errors import InputError
from medssr.evaluation.results_io import predictions_file, questions_file, read_asked_questions, read_predictions
from medssr.evaluation.scoring import Prediction, match_predictions
from medssr.questions import Question
from medssr.reports.runs import Run

# Settings of a protocol that do not change how questions are asked.
_IGNORED_SETTINGS = frozenset({"name", "questions_per_chunk"})


class UnpairedError(Exception):
    """Two evaluations, or their answers to one benchmark, cannot be compared; the message says why."""


@dataclass(frozen=True, slots=True)
class Answers:
    """The questions of a benchmark and what was read from a model's answers to them."""

    questions: list[Question]
    predictions: list[Prediction]


def evaluation_folder(run: Run, model: str) -> Path:
    """Returns the folder of a model's evaluation.

    Raises:
        UnpairedError: When it is not there.
    """
    folder = run.evaluation(model)
    if folder is None or not folder.is_dir():
        raise UnpairedError(f"the answers of {run.name} are not at {folder}")
    return folder


def read_answers(folder: Path, benchmark: str) -> Answers:
    """Returns the questions that an evaluation asked and what it read from the answers.

    Raises:
        UnpairedError: When they are not there.
        InputError: When they do not fit together.
    """
    for file in (questions_file(folder, benchmark), predictions_file(folder, benchmark)):
        if not file.is_file():
            raise UnpairedError(f"there is no {file}")
    answers = Answers(read_asked_questions(folder, benchmark), read_predictions(folder, benchmark))
    try:
        match_predictions(answers.questions, answers.predictions)
    except ValueError as error:
        raise InputError.at(predictions_file(folder, benchmark), f"{error}.") from error
    return answers


def check_protocols(protocols: Sequence[dict[str, Any]]) -> None:
    """Raises UnpairedError when an evaluation asked in another way than the first."""
    first = protocols[0]
    for other in protocols[1:]:
        settings = [name for name in dict.fromkeys([*first, *other]) if name not in _IGNORED_SETTINGS]
        differing = [name for name in settings if first.get(name) != other.get(name)]
        if differing:
            changes = "; ".join(f"{name} {other.get(name)!r}, not {first.get(name)!r}" for name in differing)
            raise UnpairedError(f"it was asked by another protocol: {changes}")


def check_questions(first: Sequence[Question], second: Sequence[Question]) -> None:
    """Raises UnpairedError when two evaluations asked different questions."""
    texts_of_first = {question.id: (question.stem, question.options, question.answer) for question in first}
    texts_of_second = {question.id: (question.stem, question.options, question.answer) for question in second}
    if len(first) != len(second):
        raise UnpairedError(f"it was asked {len(second)} questions, not {len(first)}")
    unknown = [name for name in texts_of_second if name not in texts_of_first]
    if unknown:
        raise UnpairedError(f"{len(unknown)} of its questions have other ids, such as {unknown[0]!r}")
    changed = [name for name, text in texts_of_second.items() if text != texts_of_first[name]]
    if changed:
        raise UnpairedError(f"{len(changed)} of its questions have another text or answer, such as {changed[0]!r}")
