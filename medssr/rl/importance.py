"""The gap between the rollout engine's log-probs and the trainer's, and its correction."""

from __future__ import annotations

import torch
from torch import Tensor

from medssr.rl.kl import MAX_LOG_RATIO, k3_kl


def truncated_importance_weights(old_per_token_logps: Tensor, engine_logps: Tensor, cap: float) -> Tensor:
    """Returns min(pi_trainer / pi_engine, cap) of each token, without gradient.

    Tokens were drawn by the engine, whose kernels and number formats differ from the trainer's; the weight makes the
    expectation that of the trainer, and the cap bounds its variance. One ratio per token: the product over a sequence
    explodes or vanishes with its length. (Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy
    RL training"; the weight of IMPALA, arXiv 1802.01561, with rho-bar = cap.)

    Args:
        old_per_token_logps: The trainer's, of the weights that sampled.
        engine_logps: The engine's, of the same shape; where it reports no finite one, the weight is 1.
        cap: The largest weight; 2 is usual.

    Example:
        >>> weights = truncated_importance_weights(torch.tensor([-1.0, -1.0]), torch.tensor([-1.5, -3.0]), cap=2.0)
        >>> [round(weight, 4) for weight in weights.tolist()]  # exp(0.5); exp(2) is beyond the cap
        [1.6487, 2.0]
    """
    return _log_ratio(old_per_token_logps.detach(), engine_logps).exp().clamp(max=cap)


def engine_gap(old_logps: Tensor, engine_logps: Tensor, cap: float | None) -> dict[str, float]:
    """Returns how far the engine's log-probs are from the trainer's, over the tokens of a step.

    Args:
        old_logps: `[N]`, the trainer's, of the weights that sampled.
        engine_logps: `[N]`, the engine's.
        cap: Of the importance weights; None where there are none.

    Returns:
        `engine_gap_mean` and `engine_gap_max` (absolute difference in nats), `engine_kl` (k3 estimate of
        KL(engine || trainer) per token), `importance_capped_share` and `engine_logp_missing_share` (of tokens).

    Example:
        >>> gap = engine_gap(torch.tensor([-1.0, -1.0]), torch.tensor([-1.5, -3.0]), cap=2.0)
        >>> gap["engine_gap_mean"], gap["engine_gap_max"], gap["importance_capped_share"]
        (1.25, 2.0, 0.5)
    """
    difference = (old_logps - engine_logps)[engine_logps.isfinite()]
    num_known = len(difference)
    is_capped = _log_ratio(old_logps, engine_logps).exp() > (float("inf") if cap is None else cap)
    return {
        "engine_gap_mean": difference.abs().mean().item() if num_known else 0.0,
        "engine_gap_max": difference.abs().max().item() if num_known else 0.0,
        "engine_kl": k3_kl(torch.zeros_like(difference), difference).mean().item() if num_known else 0.0,
        "importance_capped_share": is_capped.float().mean().item(),
        "engine_logp_missing_share": 1 - num_known / len(engine_logps),
    }


def _log_ratio(old_logps: Tensor, engine_logps: Tensor) -> Tensor:
    difference = torch.where(engine_logps.isfinite(), old_logps - engine_logps, 0.0)
    return difference.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
