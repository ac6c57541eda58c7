"""Model FLOPs utilisation (MFU): the operations that an update needs, as a fraction of what its hardware could do."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from medssr.models.architecture import Architecture
from medssr.models.cost import attention_flops


def update_flops(
    model: Architecture,
    prompts: Iterable[int],
    completions: Iterable[tuple[int, int]],
    num_adapter_parameters: int | None = None,
) -> float:
    """Returns the FLOPs that the forward and the backward pass of an update need.

    Of each product of the forward pass, the backward pass has two: for the input and for the weight; with adapters,
    nearly all weights have none. What is computed again to save memory does not count.

    Args:
        model: The model.
        prompts: The number of tokens of each prompt; one that several completions share counts once.
        completions: For each completion, the number of tokens of its prompt and its own.
        num_adapter_parameters: Number of adapter weights; None if all weights are trained.

    Example:
        >>> from medssr.models.architecture import Architecture
        >>> tiny = Architecture(100, 10, 2, 2, 2, 5, 20, 0, 0, True, False)  # 2 x 1,000 weights in the layers
        >>> # 2 x 2,000 x 14 tokens; the head 2 x 1,000 x 10; 4 x 4 / 2 + 10 x 4 + 10 x 10 / 2 attended, each 80 FLOPs.
        >>> update_flops(tiny, [4], [(4, 10)]) == 3 * (56_000 + 20_000 + 98 * 80)
        True
    """
    prompts, completions = list(prompts), list(completions)
    num_completion_tokens = sum(length for _, length in completions)
    num_tokens = sum(prompts) + num_completion_tokens
    attended = sum(length**2 / 2 for length in prompts)
    attended += sum(length * prompt + length**2 / 2 for prompt, length in completions)
    weights = model.num_layers * model.num_active_layer_weights + (num_adapter_parameters or 0)
    forward = 2 * weights * num_tokens + attended * attention_flops(model)
    forward += 2 * model.vocab_size * model.width * num_completion_tokens
    return forward * (3 if num_adapter_parameters is None else 2)


@dataclass(frozen=True, slots=True)
class Utilisation:
    """What the MFU of a training is computed with.

    Attributes:
        model: The model.
        num_adapter_parameters: Number of adapter weights; None if all weights are trained.
        peak_flops: FLOP/s that a device could make, in the number format of the computation.
    """

    model: Architecture
    num_adapter_parameters: int | None
    peak_flops: float

    def share(self, flops: float, seconds: float) -> float:
        """Returns the MFU of an update on one device; NaN where there was none."""
        return flops / (seconds * self.peak_flops) if flops and seconds else math.nan
