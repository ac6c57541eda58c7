"""How the losses of tokens add up to the loss of a step: the one place that decides what a step is divided by.

Loss of the step = sum over rows and tokens of row_weight * token loss, divided by the step's normaliser. A row's weight
depends on nothing but its own length, and the normaliser is known before the first micro-batch runs. So the sums of
micro-batches add up to the step's loss however the rows are split, ordered or padded.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medssr.config import LossType

_MEAN_OF_SEQUENCES = (LossType.grpo, LossType.gspo, LossType.sapo)


def row_weights(completion_mask: Tensor, loss_type: LossType | str) -> Tensor:
    """Returns what each token of a row counts, `[B, 1]`: 1 / length where a loss averages sequences, else 1.

    Args:
        completion_mask: `[B, T]`, 1 for tokens that count; rows without any count nothing.
        loss_type: The loss.

    Example:
        >>> row_weights(torch.tensor([[1.0, 1.0], [1.0, 0.0]]), LossType.grpo).tolist()
        [[0.5], [1.0]]
    """
    lengths = completion_mask.sum(dim=1, keepdim=True)
    return 1 / lengths.clamp(min=1) if LossType(loss_type) in _MEAN_OF_SEQUENCES else torch.ones_like(lengths)


def step_normalizer(lengths: Sequence[int], loss_type: LossType | str, max_new_tokens: int) -> float:
    """Returns what the weighted sum of token losses is divided by.

    Tokens for dapo, bnpo and cispo; sequences for grpo, gspo and sapo; sequences x max_new_tokens, which no completion
    can change, for dr_grpo.

    Args:
        lengths: Completion tokens of all sequences of the optimiser step that carry a loss, also of those whose
            advantage is 0; a sequence of length 0 is none.
        loss_type: The loss.
        max_new_tokens: The longest completion that could have been.

    Example:
        >>> [step_normalizer([3, 1, 0], name, max_new_tokens=8) for name in ("dapo", "grpo", "dr_grpo")]
        [4.0, 2.0, 16.0]
    """
    kind = LossType(loss_type)
    num_sequences = sum(length > 0 for length in lengths)
    if kind in _MEAN_OF_SEQUENCES:
        return float(num_sequences)
    return float(num_sequences * max_new_tokens if kind is LossType.dr_grpo else sum(lengths))


def normalizer_across_processes(own: float, loss_type: LossType | str) -> float:
    """Returns what each process divides its sum by, such that the mean of their gradients is the step's gradient.

    Data-parallel training averages gradients over processes: (1/W) sum_r S_r / M is the whole step's S / N where
    M = N / W, the mean of the processes' own normalisers. bnpo alone keeps its own: the mean of local means.

    Args:
        own: The normaliser of this process's sequences.
        loss_type: The loss.

    Example:
        >>> normalizer_across_processes(12.0, LossType.dapo)  # one process
        12.0
    """
    if LossType(loss_type) is LossType.bnpo or not (
        torch.distributed.is_available() and torch.distributed.is_initialized()
    ):
        return own
    total = torch.tensor(own, dtype=torch.float64)
    if torch.distributed.get_backend() == "nccl":
        total = total.cuda()
    torch.distributed.all_reduce(total)
    return total.item() / torch.distributed.get_world_size()
