"""The policy loss."""

from __future__ import annotations

import torch
from torch import Tensor

from medssr.rl.kl import k3_kl


def policy_loss(
    per_token_logps: Tensor,
    old_per_token_logps: Tensor,
    advantages: Tensor,
    completion_mask: Tensor,
    *,
    epsilon: float,
    epsilon_high: float,
    normalizer: float,
    ref_per_token_logps: Tensor | None = None,
    beta: float = 0.0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns the clipped token-mean loss and its metrics; both add up over the micro-batches of a step.

    L = -1/N sum_t [ min(w_t A, clip(w_t, 1 - epsilon, 1 + epsilon_high) A) - beta k3_t ],  w_t = exp(logp_t - old_t),
    with N the completion tokens of the whole step: every token of a step has the same weight, however the step is
    split (equation 8 of DAPO, arXiv 2503.14476, with the KL term of GRPO, arXiv 2402.03300, equation 3).

    Args:
        per_token_logps: `[B, T]`, of the policy that is trained.
        old_per_token_logps: `[B, T]`, of the policy that sampled; no gradient.
        advantages: `[B]`.
        completion_mask: `[B, T]`, 1 for tokens of the completion.
        epsilon: The ratio is clipped below 1 - epsilon ...
        epsilon_high: ... and above 1 + epsilon_high.
        normalizer: N.
        ref_per_token_logps: `[B, T]`, of the reference policy; needed where beta > 0.
        beta: Weight of the KL term.

    Returns:
        The loss, and sums already divided by N: `kl`, `clip_low_share`, `clip_high_share` (tokens whose ratio was
        clipped so that their gradient vanished).

    Example:
        >>> logps = torch.tensor([[-1.0, -2.0]])
        >>> loss, _ = policy_loss(
        ...     logps, logps, torch.tensor([0.5]), torch.ones(1, 2), epsilon=0.2, epsilon_high=0.28, normalizer=2
        ... )
        >>> loss.item()  # the ratio is 1 everywhere, so the loss is minus the advantage
        -0.5
    """
    # Padding leaves here and not only in the sums: the gradient of an overflow there would be NaN, since 0 * inf is.
    is_token = completion_mask.bool()
    log_ratio = torch.where(is_token, per_token_logps - old_per_token_logps, 0.0)
    ratio = torch.exp(log_ratio)
    per_row = advantages.unsqueeze(1)
    unclipped = ratio * per_row
    clipped = ratio.clamp(1 - epsilon, 1 + epsilon_high) * per_row
    per_token_loss = -torch.minimum(unclipped, clipped)

    metrics: dict[str, Tensor] = {}
    if beta > 0:
        assert ref_per_token_logps is not None, "beta > 0 needs the reference policy's log-probs"
        kl = k3_kl(torch.where(is_token, per_token_logps, 0.0), torch.where(is_token, ref_per_token_logps, 0.0))
        per_token_loss = per_token_loss + beta * kl
        metrics["kl"] = _masked_sum(kl.detach(), completion_mask) / normalizer
    with torch.no_grad():
        metrics["clip_low_share"] = _masked_sum((ratio < 1 - epsilon) & (per_row < 0), completion_mask) / normalizer
        metrics["clip_high_share"] = (
            _masked_sum((ratio > 1 + epsilon_high) & (per_row > 0), completion_mask) / normalizer
        )
    return _masked_sum(per_token_loss, completion_mask) / normalizer, metrics


def _masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask.bool(), values, 0).sum()
