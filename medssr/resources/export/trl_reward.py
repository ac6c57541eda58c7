"""The reward of medssr's label_match for TRL 1.16: 1 for the labelled answer of a finished completion, else 0.

Needs the package medssr beside TRL on every node: its extractor needs nothing else, so that
`pip install --no-deps CLONE` does, CLONE being the folder of medssr's repository.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Collection, Sequence
from typing import Any

from medssr.answers import extract_choice


def label_match(eos_token_ids: Collection[int]) -> Callable[..., list[float]]:
    """Returns a reward function for GRPOTrainer.

    Args:
        eos_token_ids: The tokens that end a completion; one that ends in another was cut and has no answer.
    """

    def label_match(
        completions: Sequence[list[dict[str, str]]],
        completion_ids: Sequence[list[int]],
        options: Sequence[list[str]],
        answer: Sequence[str],
        **_: Any,
    ) -> list[float]:
        rewards = []
        for messages, token_ids, texts, label in zip(completions, completion_ids, options, answer, strict=True):
            choice = extract_choice(messages[0]["content"], dict(zip(string.ascii_uppercase, texts, strict=False)))
            rewards.append(float(token_ids[-1] in eos_token_ids and choice.letter == label))
        return rewards

    return label_match
