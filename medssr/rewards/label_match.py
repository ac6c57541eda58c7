"""The label reward: 1 for the labelled answer, else 0."""

from __future__ import annotations

from medssr.answers import Choice
from medssr.engines.types import Completion
from medssr.questions import Question


class LabelMatch:
    """Rewards an answer that equals the question's label, a pseudo-label or a human annotation, with 1, else 0.

    Args:
        weight: Weight in the sum of rewards.
    """

    decides_signal = True

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __call__(self, question: Question, completion: Completion, choice: Choice) -> float:
        """Returns 1.0 or 0.0. A truncated completion has no answer, even if one could be extracted."""
        assert question.answer is not None, f"question {question.id} has no label"
        return float(not completion.is_truncated and choice.letter == question.answer)
