"""Automatic checks of questions: faults of their text, and their answer against facts and graph. No model is asked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from medssr.answers.options_about_options import option_about_options
from medssr.auditing.known_answers import AnswerKey
from medssr.auditing.stratified_sample import SampledQuestion
from medssr.auditing.survey_estimates import SurveyEstimate, estimate_rate
from medssr.questions import Question
from medssr.text import faults as text_faults
from medssr.utils.files import read_jsonl

_SOURCE = r"(?:passage|text|excerpt|article|paragraph|abstract|document|vignette|study|report|case|information)"
_REFERENCE = re.compile(
    rf"\b(?:according to|based on|as (?:stated|described|mentioned|noted|reported) in|in|from) (?:the|this)"
    rf"(?: (?:above|given|provided|following|preceding))* {_SOURCE}\b"
    rf"|\b(?:the|this) {_SOURCE} (?:above|below|states?|says?|mentions?|describes?|provided)\b"
    r"|\b(?:mentioned|described|stated|given|discussed) (?:above|earlier|previously)\b",
    re.IGNORECASE,
)
# A last sentence that begins as a question, or has one within, and ends without a mark; an option may end the latter.
_NO_MARK = r"[^.?!:]*[^\s.?!:)_\u2026-]\s*$"
_COMPLETED = r"(?!.*\b(?:is|are|was|were|be|by|to|of|with|in|for|from|as|the|an?|includes?)\s*$)"
_CUT_OFF = re.compile(
    rf"(?:^|[.!?:]\s+)(?:which|what|who|whom|whose|when|where|why|how)\b{_NO_MARK}"
    rf"|\b(?:which|what|how|why)\b{_COMPLETED}{_NO_MARK}",
    re.IGNORECASE,
)


class Problem(StrEnum):
    """What a check can find."""

    garbled = "garbled text"
    asks_nothing = "asks nothing"
    cut_off = "cut off"
    leaked_answer = "names its answer"
    missing_figure = "needs a figure"
    missing_passage = "needs a passage"
    repeated_option = "repeated option"
    refers_to_options = "option about options"
    tells_nothing = "tells no finding"
    no_right_option = "no right option"
    several_right_options = "several right options"
    wrong_answer = "wrong answer"


@dataclass(frozen=True, slots=True)
class CheckedQuestion:
    """The result of all checks of a question.

    Attributes:
        question_id: The question.
        problems: What is wrong with it.
        detail: What was found, for people.
        is_answer_checked: Whether facts or graph could answer it; else its text alone was checked.
    """

    question_id: str
    problems: tuple[Problem, ...]
    detail: str
    is_answer_checked: bool


@dataclass(frozen=True, slots=True)
class ChecksReport:
    """The checks of a sample.

    Attributes:
        num_checked: The number of questions.
        num_answers_checked: Those whose answer could be checked.
        any_problem: The rate of questions with a problem.
        problems: The rate of each problem that was found.
        flagged: For each question with a problem, what it is.
    """

    num_checked: int
    num_answers_checked: int
    any_problem: SurveyEstimate
    problems: dict[str, SurveyEstimate]
    flagged: dict[str, str]


def check_question(question: Question, key: AnswerKey | None) -> CheckedQuestion:
    """Returns what is wrong with a question; its answer is the label, or else the hidden truth.

    Args:
        question: The question.
        key: Answers it from facts; None to check its text alone.
    """
    problems = dict(_faults_of_text(question))
    key_answers = None if key is None else key.read(question)
    if key_answers is not None:
        answer = question.answer or question.provenance.get("truth")
        right = ", ".join(key_answers.right)
        if key_answers.problem:
            problems[Problem.tells_nothing] = key_answers.problem
        elif not key_answers.right:
            problems[Problem.no_right_option] = f"no option is right by the {key_answers.how}"
        elif len(key_answers.right) > 1:
            problems[Problem.several_right_options] = f"right by the {key_answers.how}: {right}"
        elif answer is not None and answer != key_answers.right[0]:
            problems[Problem.wrong_answer] = f"{answer}, but by the {key_answers.how} {right}"
    detail = "; ".join(f"{problem}: {text}" for problem, text in problems.items())
    return CheckedQuestion(question.id, tuple(problems), detail, key_answers is not None)


def report_checks(sample: Sequence[SampledQuestion], checked: Iterable[CheckedQuestion]) -> ChecksReport:
    """Returns the rates of problems over a sample, with their intervals."""
    by_id = {each.question_id: each for each in checked}
    counts = Counter(problem for each in by_id.values() for problem in each.problems)

    def rate(problem: Problem) -> SurveyEstimate:
        return estimate_rate(sample, {name: problem in each.problems for name, each in by_id.items()})

    return ChecksReport(
        len(by_id),
        sum(each.is_answer_checked for each in by_id.values()),
        estimate_rate(sample, {name: bool(each.problems) for name, each in by_id.items()}),
        {problem.value: rate(problem) for problem in Problem if counts[problem]},
        {name: each.detail for name, each in by_id.items() if each.problems},
    )


def _faults_of_text(question: Question) -> Iterable[tuple[Problem, str]]:
    texts = [question.stem, *question.options.values()]
    checks = (
        (Problem.garbled, text_faults.garbage),
        (Problem.leaked_answer, text_faults.leaked_answer),
        (Problem.missing_figure, text_faults.missing_figure),
        (Problem.missing_passage, _reference),
    )
    for problem, fault in checks:
        words = next((words for text in texts if (words := fault(text)) is not None), None)
        if words is not None:
            yield problem, words
    if (words := text_faults.asks_nothing(question.stem)) is not None:
        yield Problem.asks_nothing, words
    elif (match := _CUT_OFF.search(question.stem)) is not None:
        yield Problem.cut_off, match[0][-40:]
    keys = Counter(text_faults.option_key(text) for text in question.options.values())
    if repeated := [key for key, count in keys.items() if count > 1]:
        yield Problem.repeated_option, repeated[0]
    if (words := option_about_options(question.options)) is not None:
        yield Problem.refers_to_options, words


def _reference(text: str) -> str | None:
    match = _REFERENCE.search(text)
    return None if match is None else match[0]


def read_checks(path: Path) -> list[CheckedQuestion]:
    """Returns the checks that a run has written."""
    return [
        CheckedQuestion(**record | {"problems": tuple(map(Problem, record["problems"]))})
        for _, record in read_jsonl(path)
    ]
