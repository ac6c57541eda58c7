"""Learning-rate schedules."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warmup_then_constant(optimizer: Optimizer, num_warmup_steps: int) -> LambdaLR:
    """Returns a schedule that rises linearly to the full learning rate and stays there."""
    return LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / max(1, num_warmup_steps)))


def warmup_then_cosine(optimizer: Optimizer, num_warmup_steps: int, num_steps: int) -> LambdaLR:
    """Returns a schedule that rises linearly, then falls to zero along half a cosine at `num_steps`."""

    def share(step: int) -> float:
        if step < num_warmup_steps:
            return (step + 1) / num_warmup_steps
        done = (step - num_warmup_steps) / max(1, num_steps - num_warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    return LambdaLR(optimizer, share)
