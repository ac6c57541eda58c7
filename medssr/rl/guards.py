"""Signs that a policy games multiple choice instead of reasoning; `docs/metrics.md` explains each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from medssr.answers import extract_choice
from medssr.rollout.types import RolloutGroup

# An answer that can be read within so many characters has nothing before it that deserves the name of reasoning.
MIN_REASONING_CHARACTERS = 50
_EMPTY_THINKING = re.compile(r"\s*<think>\s*</think>\s*")


def guard_metrics(groups: Sequence[RolloutGroup]) -> dict[str, float]:
    """Returns what the answers of a step look like, whether or not they are right."""
    choices = [rollout.choice for group in groups for rollout in group.rollouts]
    letters = sorted({letter for group in groups for letter in group.question.options})
    answers = letter_shares((choice.letter for choice in choices), letters)
    labels = letter_shares((group.question.answer for group in groups), letters)
    metrics = {f"train/answer_share/{letter}": share for letter, share in answers.items()}
    metrics |= {f"train/label_share/{letter}": share for letter, share in labels.items()}
    if answers and labels:
        metrics["train/letter_distance"] = total_variation(answers, labels)
    reasons = Counter(choice.reason for choice in choices if choice.letter is None)
    metrics |= {f"train/invalid/{reason}": count / len(choices) for reason, count in sorted(reasons.items())}
    is_at_once = [found for group in groups for found in _answers_at_once(group)]
    if is_at_once:
        metrics["train/no_reasoning_share"] = fmean(is_at_once)
    return metrics


def letter_shares(answers: Iterable[str | None], letters: Sequence[str]) -> dict[str, float]:
    """Returns the share of each letter among the answers that have one; nothing where none has.

    Example:
        >>> letter_shares(["A", "A", None, "C", "A"], "ABC")
        {'A': 0.75, 'B': 0.0, 'C': 0.25}
    """
    counts = Counter(answer for answer in answers if answer is not None)
    return {letter: counts[letter] / counts.total() for letter in letters} if counts else {}


def total_variation(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    """Returns the distance of two distributions over the same letters: 0 when equal, 1 when they share none.

    Example:
        >>> total_variation({"A": 0.5, "B": 0.5}, {"A": 1.0, "B": 0.0})
        0.5
    """
    return sum(abs(first[letter] - second[letter]) for letter in first) / 2


def opening(text: str) -> str:
    """Returns the beginning of a completion, to the end of a word, without thinking tags that hold nothing.

    Example:
        >>> opening("<think></think>The answer is B, because the patient has been feverish for days.")
        'The answer is B, because the patient has been'
    """
    text = _EMPTY_THINKING.sub("", text, count=1)
    if len(text) <= MIN_REASONING_CHARACTERS:
        return text
    cut = text[:MIN_REASONING_CHARACTERS]
    return cut if text[MIN_REASONING_CHARACTERS].isspace() else (cut.rpartition(" ")[0] or cut)


def _answers_at_once(group: RolloutGroup) -> list[bool]:
    """Returns for each completion that has an answer whether its opening gives that answer already."""
    letter_of: dict[str, str | None] = {}  # completions of a group often begin alike
    found = []
    for rollout in group.rollouts:
        if rollout.choice.letter is not None:
            beginning = opening(rollout.completion.text)
            if beginning not in letter_of:
                letter_of[beginning] = extract_choice(beginning, group.question.options).letter
            found.append(letter_of[beginning] == rollout.choice.letter)
    return found
