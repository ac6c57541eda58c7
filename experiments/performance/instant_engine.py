"""An engine that answers at once, so that a measurement shows the work around it: `many_questions.py` uses it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medssr.engines.types import Completion, Sampling
from medssr.models.policy import Policy


class InstantEngine:
    """Answers A in three of four samples, else B, whatever it is asked (see medssr.engines.types.RolloutEngine)."""

    fills_gpu = False

    def __init__(self, policy: Policy) -> None:
        """Encodes the two answers."""
        self._answers = {letter: _completion(policy, f"The answer is {letter}.") for letter in "AB"}

    def generate(
        self, prompts: Sequence[list[int]], seeds: Sequence[Sequence[int]], sampling: Sampling
    ) -> list[list[Completion]]:
        """Returns one completion per seed."""
        return [[self._answers["B" if place % 4 == 3 else "A"] for place in range(len(row))] for row in seeds]

    def reserve(self, num_tokens: Any) -> None:
        """Does nothing."""

    def sync_weights(self, model: Any) -> None:
        """Does nothing."""

    def release_memory(self) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


def _completion(policy: Policy, text: str) -> Completion:
    token_ids = [*policy.tokenizer(text)["input_ids"], policy.tokenizer.eos_token_id]
    return Completion(token_ids, [-1.0] * len(token_ids), text, is_truncated=False)
