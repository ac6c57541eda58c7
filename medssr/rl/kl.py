"""Estimators of the KL divergence from the reference policy."""

from __future__ import annotations

import torch
from torch import Tensor


def k3_kl(per_token_logps: Tensor, ref_per_token_logps: Tensor) -> Tensor:
    """Returns the k3 estimate of KL(policy || reference) for each token, `[B, T]`, never negative.

    k3 = exp(d) - d - 1 with d = log ref - log policy (Schulman 2020, "Approximating KL divergence"; equation 4 of
    arXiv 2402.03300).

    Example:
        >>> k3_kl(torch.tensor([[0.0]]), torch.tensor([[0.0]])).item()
        0.0
    """
    difference = ref_per_token_logps - per_token_logps
    return torch.exp(difference) - difference - 1
