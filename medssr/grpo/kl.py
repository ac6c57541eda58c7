"""KL estimates between policy and reference, and the log-prob mismatch between engine and trainer.

The KL estimators take d = log ref - log policy of the token (Schulman 2020, "Approximating KL divergence"). The
mismatch between the rollout engine's log-probs and the trainer's is corrected by truncated importance sampling.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medssr.config import KLEstimator
from medssr.grpo.losses import MAX_LOG_RATIO


def kl_estimate(
    per_token_logps: Tensor, ref_per_token_logps: Tensor, estimator: KLEstimator | str = KLEstimator.k3
) -> Tensor:
    """Returns the estimate of KL(policy || reference) for each token, `[B, T]`.

    Example:
        >>> policy, reference = torch.tensor([[-1.0]]), torch.tensor([[-1.5]])
        >>> [round(kl_estimate(policy, reference, name).item(), 4) for name in ("k1", "k2", "k3")]
        [0.5, 0.125, 0.1065]
    """
    return {KLEstimator.k1: k1_kl, KLEstimator.k2: k2_kl, KLEstimator.k3: k3_kl}[KLEstimator(estimator)](
        per_token_logps, ref_per_token_logps
    )


def sequence_kls(
    old_logps: Sequence[Tensor], ref_logps: Sequence[Tensor], estimator: KLEstimator | str = KLEstimator.k1
) -> Tensor:
    """Returns the KL estimate of each completion, the sum over its tokens, `[num_completions]` on the CPU.

    Args:
        old_logps: `[T_i]` for each completion, by the sampling policy.
        ref_logps: `[T_i]` for each completion, by the reference policy.
        estimator: k1, k2 or k3.

    Example:
        >>> sequence_kls([torch.tensor([-1.0, -2.0])], [torch.tensor([-1.5, -2.5])]).tolist()
        [1.0]
    """
    pairs = zip(old_logps, ref_logps, strict=True)
    return torch.stack([kl_estimate(old, ref, estimator).sum() for old, ref in pairs]).cpu()


def k1_kl(per_token_logps: Tensor, ref_per_token_logps: Tensor) -> Tensor:
    """Returns k1 = -d, `[B, T]`: unbiased, of either sign.

    It is suited to the reward, where its sum over a completion is the log-ratio of the whole completion. As a term of
    the loss, its gradient is that of the log-prob, which is zero in expectation: it adds noise and regularises nothing.

    Example:
        >>> k1_kl(torch.tensor([-1.0]), torch.tensor([-1.5])).item()
        0.5
    """
    return per_token_logps - ref_per_token_logps


def k2_kl(per_token_logps: Tensor, ref_per_token_logps: Tensor) -> Tensor:
    """Returns k2 = d^2 / 2, `[B, T]`: biased, but on samples of the policy its gradient is that of the KL.

    Example:
        >>> k2_kl(torch.tensor([-1.0]), torch.tensor([-1.5])).item()
        0.125
    """
    return (ref_per_token_logps - per_token_logps).square() / 2


def k3_kl(per_token_logps: Tensor, ref_per_token_logps: Tensor) -> Tensor:
    """Returns k3 = exp(d) - d - 1, `[B, T]`: unbiased and never negative (arXiv 2402.03300).

    In the loss, its gradient is that of KL(reference || policy), which equals KL(policy || reference) to second order.

    Example:
        >>> k3_kl(torch.tensor([[0.0]]), torch.tensor([[0.0]])).item()
        0.0
    """
    difference = (ref_per_token_logps - per_token_logps).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return torch.exp(difference) - difference - 1


def truncated_importance_weights(old_per_token_logps: Tensor, engine_logps: Tensor, cap: float) -> Tensor:
    """Returns the truncated importance weight min(pi_trainer / pi_engine, cap) of each token, without gradient.

    The engine samples with other kernels and number formats than the trainer. The weight corrects the expectation to
    that of the trainer's policy, and the cap bounds the variance. There is one ratio per token, because the product
    over a sequence explodes or vanishes with its length. (Yao et al. 2025, "Your efficient RL framework secretly brings
    you off-policy RL training"; the weight of IMPALA, arXiv 1802.01561, with rho-bar = cap.)

    Args:
        old_per_token_logps: The trainer's log-probs with the weights that sampled.
        engine_logps: The engine's log-probs, of the same shape; where one is not finite, the weight is 1.
        cap: The largest weight; 2 is usual.

    Example:
        >>> weights = truncated_importance_weights(torch.tensor([-1.0, -1.0]), torch.tensor([-1.5, -3.0]), cap=2.0)
        >>> [round(weight, 4) for weight in weights.tolist()]  # exp(0.5); exp(2) is above the cap
        [1.6487, 2.0]
    """
    return _log_ratio(old_per_token_logps.detach(), engine_logps).exp().clamp(max=cap)


def logprob_mismatch(old_logps: Tensor, engine_logps: Tensor, cap: float | None) -> dict[str, float]:
    """Returns metrics of the difference between the engine's and the trainer's log-probs, over the tokens of a step.

    Args:
        old_logps: `[N]`, the trainer's log-probs with the weights that sampled.
        engine_logps: `[N]`, the engine's log-probs.
        cap: The cap of the importance weights; None if there are none.

    Returns:
        `logprob_mismatch_mean` and `logprob_mismatch_max` (absolute difference in nats), `engine_kl` (k3 estimate of
        KL(engine || trainer) per token), `tis_capped_share` and `engine_logp_missing_share` (of tokens).

    Example:
        >>> mismatch = logprob_mismatch(torch.tensor([-1.0, -1.0]), torch.tensor([-1.5, -3.0]), cap=2.0)
        >>> mismatch["logprob_mismatch_mean"], mismatch["logprob_mismatch_max"], mismatch["tis_capped_share"]
        (1.25, 2.0, 0.5)
    """
    difference = (old_logps - engine_logps)[engine_logps.isfinite()]
    num_finite = len(difference)
    is_capped = _log_ratio(old_logps, engine_logps).exp() > (float("inf") if cap is None else cap)
    return {
        "logprob_mismatch_mean": difference.abs().mean().item() if num_finite else 0.0,
        "logprob_mismatch_max": difference.abs().max().item() if num_finite else 0.0,
        "engine_kl": k3_kl(torch.zeros_like(difference), difference).mean().item() if num_finite else 0.0,
        "tis_capped_share": is_capped.float().mean().item(),
        "engine_logp_missing_share": 1 - num_finite / len(engine_logps),
    }


def _log_ratio(old_logps: Tensor, engine_logps: Tensor) -> Tensor:
    difference = torch.where(engine_logps.isfinite(), old_logps - engine_logps, 0.0)
    return difference.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
