"""Pads rollouts to tensors, and splits them into micro-batches of a bounded number of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class RolloutBatch:
    """A padded batch of completions with their prompts; all completions begin at the same column.

    Attributes:
        input_ids: `[B, S + T]`, prompt and completion.
        attention_mask: `[B, S + T]`, 1 for tokens, 0 for padding.
        completion_ids: `[B, T]`, the last T columns of input_ids.
        completion_mask: `[B, T]`.
    """

    input_ids: Tensor
    attention_mask: Tensor
    completion_ids: Tensor
    completion_mask: Tensor

    @property
    def position_ids(self) -> Tensor:
        """The position ids, `[B, S + T]`, which count tokens without padding."""
        return (self.attention_mask.cumsum(dim=1) - 1).clamp(min=0)


def pad_rollouts(
    prompts: Sequence[list[int]], completions: Sequence[list[int]], pad_id: int, device: torch.device | str = "cpu"
) -> RolloutBatch:
    """Returns the padded batch of the given rows: prompts padded on the left, completions on the right.

    Example:
        >>> pad_rollouts([[5], [6, 7]], [[8, 9], [4]], pad_id=0).input_ids.tolist()
        [[0, 5, 8, 9], [6, 7, 4, 0]]
    """
    prompt_width = max(len(row) for row in prompts)
    completion_width = max(len(row) for row in completions)
    ids, mask = [], []
    for prompt, completion in zip(prompts, completions, strict=True):
        before, after = prompt_width - len(prompt), completion_width - len(completion)
        ids.append([pad_id] * before + prompt + completion + [pad_id] * after)
        mask.append([0] * before + [1] * (len(prompt) + len(completion)) + [0] * after)
    input_ids, attention_mask = torch.tensor(ids, device=device), torch.tensor(mask, device=device)
    return RolloutBatch(
        input_ids, attention_mask, input_ids[:, prompt_width:], attention_mask[:, prompt_width:].float()
    )


def split_by_tokens(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Returns the row indices of each micro-batch; rows of similar length are together, within the token budget.

    A row that is longer than the budget is a micro-batch by itself.

    Args:
        lengths: Number of tokens of each row, prompt and completion.
        max_tokens: The token budget: maximum of rows x longest row.

    Example:
        >>> split_by_tokens([10, 2, 9, 3], max_tokens=20)
        [[0, 2], [3, 1]]
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    batches: list[list[int]] = []
    for row in order:
        # The first row of a batch is the longest, so its length is the padded width.
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= max_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
