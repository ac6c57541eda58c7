"""The reward of medssr's label_match for verl 0.9: 1 for the labelled answer of a finished completion, else 0.

Needs the package medssr beside verl on every node: its extractor needs nothing else, so that
`pip install --no-deps CLONE` does, CLONE being the folder of medssr's repository.
"""

from __future__ import annotations

import string
from typing import Any

from verl import DataProto
from verl.experimental.reward_loop.reward_manager.naive import NaiveRewardManager

from medssr.answers import extract_choice


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict[str, Any], **_: Any
) -> dict[str, Any]:
    """Returns the score of a completion, taken as finished, with the letter that was read and why."""
    options = dict(zip(string.ascii_uppercase, extra_info["options"], strict=False))
    choice = extract_choice(solution_str, options)
    is_right = float(choice.letter == ground_truth)
    return {"score": is_right, "acc": is_right, "is_invalid": float(choice.letter is None), "is_truncated": 0.0}


class LabelMatchManager(NaiveRewardManager):  # type: ignore[misc]  # verl is not installed where types are checked
    """verl's plain reward manager, but a completion that was cut has reward 0, whatever it holds so far."""

    async def run_single(self, data: DataProto) -> dict[str, Any]:
        """Returns the reward of the last sequence of `data`."""
        result: dict[str, Any] = await super().run_single(data)
        batch = data[-1:][0].batch
        response = batch["responses"]
        num_tokens = int(batch["attention_mask"][-len(response) :].sum())
        last_token = int(response[num_tokens - 1])
        if last_token not in self.config.medssr.eos_token_ids:
            result["reward_score"] = 0.0
            result["reward_extra_info"] |= {"score": 0.0, "acc": 0.0, "is_truncated": 1.0}
        return result
