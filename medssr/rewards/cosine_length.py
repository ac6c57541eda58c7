"""A length reward that depends on whether the answer is right."""

from __future__ import annotations

import math

from medssr.answers import Choice
from medssr.engines.types import Completion
from medssr.questions import Question


class CosineLength:
    """Rewards short right answers (1 falling to 0 with length), and penalises short wrong ones (-1 rising to 0).

    Both follow half a cosine over the length, like the cosine reward of Yeo et al. 2025 (arXiv 2502.03373) with other
    end points. Short right completions get the highest reward; long reasoning with a wrong answer loses less than a
    short wrong guess. A truncated completion gets -1.

    Args:
        weight: Weight in the sum of rewards; it should be well below the label reward's.
        max_tokens: The length at which both are 0; longer completions count as this long.
    """

    def __init__(self, weight: float, max_tokens: int) -> None:
        self.weight = weight
        self._max_tokens = max_tokens

    def __call__(self, question: Question, completion: Completion, choice: Choice) -> float:
        """Returns a number from -1 to 1."""
        if completion.is_truncated:
            return -1.0
        fraction = min(1.0, len(completion.token_ids) / self._max_tokens)
        size = (1 + math.cos(math.pi * fraction)) / 2
        return size if choice.letter is not None and choice.letter == question.answer else -size
