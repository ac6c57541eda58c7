"""A reward for ending in an answer that can be read, right or wrong."""

from __future__ import annotations

from medssr.answers import Choice
from medssr.engines.types import Completion
from medssr.questions import Question


class AnswerFormat:
    """1 when exactly one answer could be extracted from a finished completion, else 0.

    Args:
        weight: Weight in the sum of rewards; keep it well below the label's.
    """

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __call__(self, question: Question, completion: Completion, choice: Choice) -> float:
        """Returns 1.0 or 0.0."""
        return float(not completion.is_truncated and choice.letter is not None)
