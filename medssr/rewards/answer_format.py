"""A reward for completions with an extractable answer, right or wrong."""

from __future__ import annotations

from medssr.answers import Choice
from medssr.engines.types import Completion
from medssr.questions import Question


class AnswerFormat:
    """Rewards a finished completion with exactly one extractable answer with 1, any other with 0.

    Args:
        weight: Weight in the sum of rewards; it should be well below the label reward's.
    """

    is_label_free = True

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __call__(self, question: Question, completion: Completion, choice: Choice) -> float:
        """Returns 1.0 or 0.0."""
        return float(not completion.is_truncated and choice.letter is not None)
