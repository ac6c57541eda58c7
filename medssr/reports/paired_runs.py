"""Runs against the first of them, on the same questions asked in the same way; what cannot be paired is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from medssr.errors import InputError
from medssr.evaluation.comparison import Comparison, compare, corrected
from medssr.evaluation.results_io import (
    EvaluationResults,
    predictions_file,
    questions_file,
    read_asked_questions,
    read_predictions,
)
from medssr.evaluation.scoring import Prediction, match_predictions
from medssr.questions import Question
from medssr.reports.examples import Candidate, Example, choose_examples, read_examples
from medssr.reports.runs import Run, read_evaluation

# What a protocol is called and how often answers are kept: not how they are asked for.
_UNASKED = frozenset({"name", "questions_per_chunk"})


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What was not paired, and why: a benchmark of a run, or a run with all its benchmarks (`benchmark` None)."""

    run: str
    benchmark: str | None
    reason: str

    @property
    def what(self) -> str:
        """The run and, where it is about one alone, the benchmark."""
        return self.run if self.benchmark is None else f"{self.run}, {self.benchmark}"


@dataclass(frozen=True, slots=True)
class RunPair:
    """The last model of a run against the last model of the first run.

    Attributes:
        first: The first run and its model.
        second: The run that is compared with it and its model.
        comparisons: By benchmark and slice, the p-values corrected over the benchmarks.
        examples: Questions won and lost, for reading.
    """

    first: str
    second: str
    comparisons: dict[str, dict[str, Comparison]]
    examples: list[Example]


@dataclass(frozen=True, slots=True)
class Pairings:
    """All runs against the first one."""

    pairs: list[RunPair]
    left_out: list[LeftOut]


class UnpairedError(Exception):
    """Two runs, or their answers to one benchmark, do not compare; the message says why."""


@dataclass(frozen=True, slots=True)
class Answers:
    """The questions of a benchmark and what was read from a model's answers to them."""

    questions: list[Question]
    predictions: list[Prediction]


@dataclass(frozen=True, slots=True)
class Side:
    """One evaluation of a pair."""

    label: str
    folder: Path
    results: EvaluationResults


def pair_runs(runs: Sequence[Run], num_examples: int, seed: int = 0) -> Pairings:
    """Returns the last model of each run against that of the first, benchmark by benchmark.

    Args:
        runs: The runs; the first is the one that the others are compared with.
        num_examples: Questions won, and as many lost, to show of each pair.
        seed: Of the bootstrap.

    Raises:
        InputError: When a file of questions or answers is broken.
    """
    pairs: list[RunPair] = []
    left_out: list[LeftOut] = []
    answers_of_first = cache(read_answers)
    for run in runs[1:]:
        comparisons: dict[str, dict[str, Comparison]] = {}
        candidates: list[Candidate] = []
        try:
            first, second = side_of(runs[0]), side_of(run)
            check_protocols(first.results.protocol, second.results.protocol)
        except UnpairedError as reason:
            left_out.append(LeftOut(run.name, None, str(reason)))
            continue
        for benchmark in dict.fromkeys([*first.results.benchmarks, *second.results.benchmarks]):
            try:
                before, after = answers_of_first(first.folder, benchmark), read_answers(second.folder, benchmark)
                check_questions(before.questions, after.questions)
            except UnpairedError as reason:
                left_out.append(LeftOut(run.name, benchmark, str(reason)))
                continue
            comparisons[benchmark] = compare(before.questions, before.predictions, after.predictions, seed=seed)
            candidates += _candidates(benchmark, before, after)
        if comparisons:
            examples = read_examples(choose_examples(candidates, num_examples), first.folder, second.folder)
            pairs.append(RunPair(first.label, second.label, corrected(comparisons), examples))
    return Pairings(pairs, left_out)


def side_of(run: Run) -> Side:
    """Returns the last evaluation of a run.

    Raises:
        UnpairedError: When its answers are not there.
    """
    folder = run.last_evaluation
    if folder is None or not folder.is_dir():
        raise UnpairedError(f"the answers of {run.name} are not at {folder}")
    return Side(run.label(run.last_model), folder, read_evaluation(folder))


def read_answers(folder: Path, benchmark: str) -> Answers:
    """Returns what an evaluation asked and what it read from the answers.

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


def check_protocols(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Raises UnpairedError when two evaluations asked in different ways."""
    settings = [name for name in dict.fromkeys([*first, *second]) if name not in _UNASKED]
    differing = [name for name in settings if first.get(name) != second.get(name)]
    if differing:
        found = "; ".join(f"{name} {second.get(name)!r}, not {first.get(name)!r}" for name in differing)
        raise UnpairedError(f"it was asked by another protocol: {found}")


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


def _candidates(benchmark: str, before: Answers, after: Answers) -> list[Candidate]:
    place_before = {found.question_id: place for place, found in enumerate(before.predictions)}
    place_after = {found.question_id: place for place, found in enumerate(after.predictions)}
    return [
        Candidate(
            benchmark,
            question,
            (place_before[question.id], place_after[question.id]),
            before.predictions[place_before[question.id]],
            after.predictions[place_after[question.id]],
        )
        for question in before.questions
    ]
