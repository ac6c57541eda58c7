"""A reward on length that depends on whether the answer is right."""

from __future__ import annotations

import math

from medssr.answers import Choice
from medssr.engines.types import Completion
from medssr.questions import Question


class CosineLength:
    """Between 1 and 0 for a right answer, the more the shorter; between -1 and 0 for another, the more the longer.

    Both follow half a cosine over the length, as the cosine reward of Yeo et al. 2025 (arXiv 2502.03373) does with
    other end points: among right completions the brief one wins, among wrong ones that which reasoned at length loses
    least, so that a blind guess is the worst of all. A completion that was cut gets -1.

    Args:
        weight: Weight in the sum of rewards; keep it well below the label's.
        max_tokens: The length at which both are 0; completions beyond count as this long.
    """

    def __init__(self, weight: float, max_tokens: int) -> None:
        self.weight = weight
        self._max_tokens = max_tokens

    def __call__(self, question: Question, completion: Completion, choice: Choice) -> float:
        """Returns a number from -1 to 1."""
        if completion.is_truncated:
            return -1.0
        share = min(1.0, len(completion.token_ids) / self._max_tokens)
        size = (1 + math.cos(math.pi * share)) / 2
        return size if choice.letter is not None and choice.letter == question.answer else -size
