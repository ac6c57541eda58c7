"""Drawing the next token: pure functions of logits and of one uniform number per row."""

from __future__ import annotations

import torch
from torch import Tensor

from medssr.rollout.types import Sampling


def filtered_logps(logits: Tensor, sampling: Sampling) -> Tensor:
    """Returns the log-probabilities that tokens are drawn from, -inf for tokens that top_k or top_p leave out.

    Args:
        logits: `[B, V]`.
        sampling: Temperature first, then top_k, then top_p, each renormalised, as the common engines do. At
            temperature 0 all mass is on the likeliest token, the first of several.
    """
    if sampling.temperature == 0:
        certain = torch.full_like(logits, -torch.inf, dtype=torch.float32)
        return certain.scatter(-1, logits.argmax(dim=-1, keepdim=True), 0.0)
    logits = logits.float() if sampling.temperature == 1 else logits.float() / sampling.temperature
    logps = torch.log_softmax(logits, dim=-1)
    if 0 < sampling.top_k < logps.shape[-1]:
        smallest_kept = logps.topk(sampling.top_k, dim=-1).values[:, -1:]
        logps = torch.log_softmax(logps.masked_fill(logps < smallest_kept, -torch.inf), dim=-1)
    if sampling.top_p < 1:
        ordered, order = logps.sort(dim=-1, descending=True)
        mass_before = ordered.exp().cumsum(dim=-1) - ordered.exp()
        is_left_out = torch.zeros_like(logps, dtype=torch.bool).scatter(-1, order, mass_before >= sampling.top_p)
        logps = torch.log_softmax(logps.masked_fill(is_left_out, -torch.inf), dim=-1)
    return logps


def draw_tokens(logps: Tensor, uniforms: Tensor) -> Tensor:
    """Returns a token per row by inverting the cumulative distribution at the row's uniform number.

    Args:
        logps: `[B, V]`, normalised.
        uniforms: `[B]` in [0, 1).

    Example:
        >>> draw_tokens(torch.tensor([[0.25, 0.75]]).log(), torch.tensor([0.3])).tolist()
        [1]
    """
    cumulative = logps.exp().cumsum(dim=-1)
    # Scaled by the total, so that rounding cannot leave a uniform number above the last step.
    thresholds = uniforms.to(cumulative.dtype).unsqueeze(-1) * cumulative[:, -1:]
    tokens = torch.searchsorted(cumulative, thresholds, right=True).squeeze(-1)
    return tokens.clamp(max=logps.shape[-1] - 1)


def seeded_uniforms(seeds: list[int], length: int) -> Tensor:
    """Returns `[len(seeds), length]` uniform numbers; each row depends on its seed alone.

    Made on the CPU, so that a GPU draws the same numbers.
    """
    rows = [torch.rand(length, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows)
