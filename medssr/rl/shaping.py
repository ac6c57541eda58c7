"""Length in the reward."""

from __future__ import annotations

import torch
from torch import Tensor


def overlong_penalty(lengths: Tensor, max_new_tokens: int, buffer: int) -> Tensor:
    """Returns what a completion's length takes off its reward, 0 to 1, of the shape of `lengths`.

    Nothing up to max_new_tokens - buffer tokens, from there in a line up to 1 at max_new_tokens: a cut completion was
    told beforehand (soft over-long punishment, DAPO, arXiv 2503.14476, with the sign turned).

    Args:
        lengths: Completion tokens.
        max_new_tokens: Where completions are cut.
        buffer: Tokens over which the penalty grows; 0 for no penalty.

    Example:
        >>> overlong_penalty(torch.tensor([10, 80, 90, 100]), max_new_tokens=100, buffer=20).tolist()
        [0.0, 0.0, 0.5, 1.0]
    """
    if buffer == 0:
        return torch.zeros_like(lengths, dtype=torch.float32)
    return ((lengths - (max_new_tokens - buffer)) / buffer).clamp(0, 1)
