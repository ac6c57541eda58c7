"""The loss of a step that is one batch, as the oracle tests compare it."""

from __future__ import annotations

from typing import Any

from support.helpers import policy_loss
from torch import Tensor

from medssr.grpo.kl import kl_estimate
from medssr.grpo.losses import LossInputs, summed_loss


def step_loss(
    logps: Tensor,
    old_logps: Tensor,
    advantages: Tensor,
    mask: Tensor,
    loss: str = "dapo",
    *,
    ref_logps: Tensor | None = None,
    beta: float = 0.0,
    kl_estimator: str = "k3",
    entropies: Tensor | None = None,
    entropy_coef: float = 0.0,
    importance_weights: Tensor | None = None,
    question_weights: Tensor | None = None,
    normalizer: float | None = None,
    max_new_tokens: int = 0,
    **values: Any,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss and its metrics, divided by the normaliser of these rows unless another is given."""
    kind = policy_loss(loss, **values)
    if normalizer is None:
        lengths = [int(length) for length in mask.sum(dim=1).tolist()]
        weights = None if question_weights is None else question_weights.tolist()
        normalizer = kind.normalizer(lengths, max_new_tokens or mask.shape[1], weights) or 1.0
    regularisation = None
    if ref_logps is not None:
        is_token = mask.bool()
        regularisation = beta * kl_estimate(logps.where(is_token, 0.0), ref_logps.where(is_token, 0.0), kl_estimator)
    if entropies is not None:
        regularisation = (0.0 if regularisation is None else regularisation) - entropy_coef * entropies
    inputs = LossInputs(logps, old_logps, advantages, mask, question_weights)
    return summed_loss(kind, inputs, normalizer, importance_weights, regularisation)
