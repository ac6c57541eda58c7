"""Scores answers that begin with a given trace, which argues for a wrong option: how often they follow it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medssr.answers import extract_choice
from medssr.engines.sampled_answers import SampledAnswer
from medssr.evaluation.estimates import Rate
from medssr.questions import Question


@dataclass(frozen=True, slots=True)
class PrefillScore:
    """How often answers follow the trace that they begin with.

    Attributes:
        field: The field of the provenance that holds the traces.
        num_left_out: Questions of the benchmark without a trace, which are not asked.
        num_wrong: Questions whose trace names an option that is not the gold one.
        follow_rate: Samples that end with the option of their trace, of all samples of questions whose trace names one.
    """

    field: str
    num_left_out: int
    num_wrong: int
    follow_rate: Rate


def has_prefill(question: Question, field: str) -> bool:
    """Returns whether a question has a trace to begin its answer with."""
    trace = question.provenance.get(field)
    return isinstance(trace, str) and bool(trace.strip())


def trace_letter(question: Question, field: str) -> str | None:
    """Returns the option that a trace names: the only one that it has as "B. text", or else the one that it chooses.

    Example:
        >>> trace = "Perhaps B. heart is correct, but I should examine this more carefully."
        >>> trace_letter(Question("1", "?", {"A": "liver", "B": "heart"}, "A", "toy", provenance={"t": trace}), "t")
        'B'
    """
    trace = str(question.provenance[field])
    named = [letter for letter, text in question.options.items() if f"{letter}. {text}" in trace]
    return named[0] if len(named) == 1 else extract_choice(trace, question.options).letter


def prefill_score(
    questions: Sequence[Question], answers: Sequence[Sequence[SampledAnswer]], field: str, num_left_out: int
) -> PrefillScore:
    """Returns how often answers follow their trace."""
    num_wrong, num_samples, num_following = 0, 0, 0
    for question, row in zip(questions, answers, strict=True):
        letter = trace_letter(question, field)
        if letter is not None:
            num_wrong += letter != question.answer
            num_samples += len(row)
            num_following += sum(answer.letter == letter for answer in row)
    follow_rate = round(num_following / num_samples, 6) if num_samples else 0.0
    return PrefillScore(field, num_left_out, num_wrong, Rate(follow_rate, num_following, num_samples))
