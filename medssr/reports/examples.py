"""Questions that one model answers and another does not, with what both wrote, for reading side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medssr.evaluation.results_io import read_texts
from medssr.evaluation.scoring import Prediction
from medssr.questions import Question
from medssr.reports.paired_answers import Answers
from medssr.utils.seeding import derive_seed

_LONGEST_TEXT = 2_400


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """One sample of a model: its letter, its text, and how many of the model's samples are right."""

    letter: str | None
    text: str
    num_right: int
    num_samples: int


@dataclass(frozen=True, slots=True)
class Example:
    """A question that the second model has right more often (won) or less often (lost) than the first."""

    benchmark: str
    question: Question
    is_won: bool
    first: ShownAnswer
    second: ShownAnswer


@dataclass(frozen=True, slots=True)
class Candidate:
    """A question that may be shown: the answers of both models, and their indices in the files of predictions."""

    benchmark: str
    question: Question
    indices: tuple[int, int]
    first: Prediction
    second: Prediction

    @property
    def gain(self) -> int:
        """How many more samples of the second model are right."""
        answer = self.question.answer
        return self.second.letters.count(answer) - self.first.letters.count(answer)


def match_answers(benchmark: str, before: Answers, after: Answers) -> list[Candidate]:
    """Returns the questions of a benchmark with the answers of two models; both were asked the same questions."""
    index_before = {prediction.question_id: index for index, prediction in enumerate(before.predictions)}
    index_after = {prediction.question_id: index for index, prediction in enumerate(after.predictions)}
    return [
        Candidate(benchmark, question, (first, second), before.predictions[first], after.predictions[second])
        for question in before.questions
        for first, second in [(index_before[question.id], index_after[question.id])]
    ]


def choose_examples(candidates: Sequence[Candidate], num_examples: int) -> list[Candidate]:
    """Returns the questions with the largest gains and those with the largest losses, copies of a question once.

    `num_examples` is the number of each kind. Among equal gains a hash of the question decides, so that no benchmark
    comes first.
    """
    ordered = sorted(
        (each for each in candidates if each.gain),
        key=lambda each: (-abs(each.gain), derive_seed(0, each.benchmark, each.question.id)),
    )
    distinct = {each.question.content_key: each for each in reversed(ordered)}
    ordered = [each for each in ordered if distinct[each.question.content_key] is each]
    won, lost = [each for each in ordered if each.gain > 0], [each for each in ordered if each.gain < 0]
    return [*won[:num_examples], *lost[:num_examples]]


def read_examples(chosen: Sequence[Candidate], first: Path, second: Path) -> list[Example]:
    """Returns the questions with a right answer of one model beside a wrong one of the other, from two evaluations.

    Raises:
        InputError: When an answer has no text.
    """
    texts: list[dict[tuple[str, int], list[str]]] = [{}, {}]
    for benchmark in dict.fromkeys(each.benchmark for each in chosen):
        for side, folder in enumerate((first, second)):
            indices = {each.indices[side] for each in chosen if each.benchmark == benchmark}
            answers = read_texts(folder, benchmark, indices)
            texts[side] |= {(benchmark, index): samples for index, samples in answers.items()}
    return [
        Example(
            each.benchmark,
            each.question,
            each.gain > 0,
            _shown(each.question, each.first, texts[0][each.benchmark, each.indices[0]], is_right=each.gain < 0),
            _shown(each.question, each.second, texts[1][each.benchmark, each.indices[1]], is_right=each.gain > 0),
        )
        for each in chosen
    ]


def typical_answer(question: Question, prediction: Prediction, texts: Sequence[str]) -> ShownAnswer:
    """Returns the first sample that is right where at least half of the samples are, else the first that is wrong."""
    num_right = prediction.letters.count(question.answer)
    return _shown(question, prediction, texts, is_right=2 * num_right >= len(prediction.letters))


def _shown(question: Question, prediction: Prediction, texts: Sequence[str], *, is_right: bool) -> ShownAnswer:
    """Returns the first sample that is right, or the first that is wrong."""
    index = next(index for index, letter in enumerate(prediction.letters) if (letter == question.answer) is is_right)
    num_right = prediction.letters.count(question.answer)
    return ShownAnswer(prediction.letters[index], _cut(texts[index]), num_right, len(prediction.letters))


def _cut(text: str) -> str:
    """Returns a text without its middle where it is long: the answer is at the end."""
    if len(text) <= _LONGEST_TEXT:
        return text
    head = _LONGEST_TEXT // 4
    num_cut = len(text) - _LONGEST_TEXT
    return f"{text[:head]}\n[... {num_cut} characters ...]\n{text[head + num_cut :]}"
