"""Pads rollouts to tensors, and splits them into micro-batches of a bounded number of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


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
        return position_ids_of(self.attention_mask)


def pad_rollouts(
    prompts: Sequence[list[int]], completions: Sequence[list[int]], pad_id: int, device: torch.device | str = "cpu"
) -> RolloutBatch:
    """Returns the padded batch of the given rows: prompts padded on the left, completions on the right.

    Example:
        >>> pad_rollouts([[5], [6, 7]], [[8, 9], [4]], pad_id=0).input_ids.tolist()
        [[0, 5, 8, 9], [6, 7, 4, 0]]
    """
    assert len(prompts) == len(completions), "each completion continues one prompt"
    prompt_ids, prompt_mask = left_pad(prompts, pad_id, device)
    rows = [torch.tensor(completion, device=device) for completion in completions]
    completion_ids = pad_sequence(rows, batch_first=True, padding_value=pad_id)
    completion_mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    return RolloutBatch(
        torch.cat([prompt_ids, completion_ids], dim=1),
        torch.cat([prompt_mask, completion_mask], dim=1),
        completion_ids,
        completion_mask.float(),
    )


def left_pad(rows: Sequence[list[int]], pad_id: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Returns token ids and attention mask, both `[B, S]`, padded on the left."""
    width = max(len(row) for row in rows)
    input_ids = torch.tensor([[pad_id] * (width - len(row)) + row for row in rows], device=device)
    attention_mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return input_ids, attention_mask


def position_ids_of(attention_mask: Tensor) -> Tensor:
    """Returns the position ids, `[B, S]`, which count tokens without padding; 0 for padding."""
    return (attention_mask.cumsum(dim=1) - 1).clamp(min=0)


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
