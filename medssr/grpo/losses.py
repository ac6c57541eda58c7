"""The policy losses: the loss of each token, and their sum. `docs/algorithms.md` has all formulas side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medssr.config import KLEstimator, LossType
from medssr.grpo.kl import MAX_LOG_RATIO, kl_estimate


def policy_loss(
    per_token_logps: Tensor,
    old_per_token_logps: Tensor,
    advantages: Tensor,
    completion_mask: Tensor,
    *,
    loss_type: LossType | str = LossType.dapo,
    epsilon: float = 0.2,
    epsilon_high: float = 0.28,
    dual_clip: float | None = None,
    sapo_temperature_positive: float = 1.0,
    sapo_temperature_negative: float = 1.05,
    importance_weights: Tensor | None = None,
    ref_per_token_logps: Tensor | None = None,
    beta: float = 0.0,
    kl_estimator: KLEstimator | str = KLEstimator.k3,
    normalizer: float | None = None,
    max_new_tokens: int | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns the loss and its metrics; given the step's normaliser, those of its micro-batches add up.

    L = 1/N sum_i w_i sum_t [ rho_t l_t + beta k_t ], with l_t the loss of one token by `loss_type`, rho_t the
    importance weight, k_t the KL estimate, w_i the weight of row i (`aggregation.row_weights`) and N the normaliser
    (`aggregation.step_normalizer`): each token of the step weighs the same however the step is split.

    Args:
        per_token_logps: `[B, T]`, of the policy that is trained.
        old_per_token_logps: `[B, T]`, of the policy that sampled; no gradient.
        advantages: `[B]`, or `[B, T]` where tokens have their own.
        completion_mask: `[B, T]`, 1 for tokens that count; what the others hold reaches nothing.
        loss_type: dapo, grpo, bnpo, dr_grpo (the same clipped loss of a token, summed up differently), gspo, cispo or
            sapo.
        epsilon: The ratio is clipped below 1 - epsilon ...
        epsilon_high: ... and above 1 + epsilon_high.
        dual_clip: c > 1 + epsilon_high; where the advantage is negative, the loss is at most c times its size.
        sapo_temperature_positive: Steepness of sapo's gate where the advantage is positive ...
        sapo_temperature_negative: ... and where it is not.
        importance_weights: `[B, T]`, of the policy term of each token (`importance.truncated_importance_weights`).
        ref_per_token_logps: `[B, T]`, of the reference policy; needed where beta > 0, else only for the metric.
        beta: Weight of the KL term.
        kl_estimator: k1, k2 or k3.
        normalizer: N; None for that of these rows alone, fully masked rows not counted.
        max_new_tokens: The constant length of dr_grpo where no normalizer is given; None for T.

    Returns:
        The loss, and token sums divided by the normaliser (without one, means over these tokens): `kl`,
        `clip_low_share`, `clip_high_share` (tokens whose ratio the clip has cut; those whose gradient vanishes, or for
        cispo those whose weight is bounded; absent for sapo, which cuts none) and `dual_clip_share`.

    Example:
        >>> logps = torch.tensor([[-1.0, -2.0], [-1.0, 0.0]])
        >>> mask = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
        >>> for name in ("dapo", "grpo", "dr_grpo"):  # the ratio is 1 everywhere, so a token's loss is -advantage
        ...     loss, _ = policy_loss(logps, logps, torch.tensor([0.5, -0.25]), mask, loss_type=name)
        ...     print(name, loss.item())
        dapo -0.25
        grpo -0.125
        dr_grpo -0.1875
    """
    kind = LossType(loss_type)
    # Padding leaves here and not only in the sums: the gradient of an overflow there would be NaN, since 0 * inf is.
    is_token = completion_mask.bool()
    logps = torch.where(is_token, per_token_logps, 0.0)
    log_ratio = torch.where(is_token, per_token_logps - old_per_token_logps, 0.0)
    if kind is LossType.gspo:
        log_ratio = sequence_log_ratio(log_ratio, completion_mask)
    ratio = torch.exp(log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO))
    gains = advantages if advantages.dim() == 2 else advantages.unsqueeze(1)

    if kind is LossType.cispo:
        per_token_loss = cispo_loss(logps, ratio, gains, epsilon, epsilon_high)
    elif kind is LossType.sapo:
        per_token_loss = sapo_loss(ratio, gains, sapo_temperature_positive, sapo_temperature_negative)
    else:
        per_token_loss = clipped_loss(ratio, gains, epsilon, epsilon_high, dual_clip)
    if importance_weights is not None:
        per_token_loss = per_token_loss * torch.where(is_token, importance_weights, 1.0)

    shares = {} if kind is LossType.sapo else _clipped_tokens(kind, ratio.detach(), gains, epsilon, epsilon_high)
    if dual_clip is not None and kind not in (LossType.cispo, LossType.sapo):
        shares["dual_clip_share"] = (ratio.detach() > dual_clip) & (gains < 0)
    if beta > 0 or ref_per_token_logps is not None:
        assert ref_per_token_logps is not None, "beta > 0 needs the reference policy's log-probs"
        kl = kl_estimate(logps, torch.where(is_token, ref_per_token_logps, 0.0), kl_estimator)
        per_token_loss = per_token_loss + beta * kl
        shares["kl"] = kl.detach()

    token_divisor: float | Tensor
    if normalizer is None:
        lengths = [int(length) for length in completion_mask.sum(dim=1).tolist()]
        normalizer = max(1.0, step_normalizer(lengths, kind, max_new_tokens or completion_mask.shape[1]))
        token_divisor = max(1, sum(lengths))
    else:
        token_divisor = normalizer
    metrics = {name: _masked_sum(share.to(ratio.dtype), is_token) / token_divisor for name, share in shares.items()}
    return _masked_sum(per_token_loss * row_weights(completion_mask, kind), is_token) / normalizer, metrics


def clipped_loss(
    ratio: Tensor, advantages: Tensor, epsilon: float, epsilon_high: float, dual_clip: float | None = None
) -> Tensor:
    """Returns -min(r A, clip(r, 1 - epsilon, 1 + epsilon_high) A), where A < 0 at most -c A; `[B, T]`.

    PPO's clip (arXiv 1707.06347) with DAPO's higher upper bound (arXiv 2503.14476) and, for c = dual_clip,
    the dual clip of arXiv 1912.09729, equation 5.

    Example:
        >>> ratio, advantages = torch.tensor([[1.5, 1.5, 4.0]]), torch.tensor([[1.0, -1.0, -1.0]])
        >>> [round(loss, 2) for loss in clipped_loss(ratio, advantages, 0.2, 0.28, dual_clip=3.0)[0].tolist()]
        [-1.28, 1.5, 3.0]
    """
    gain = torch.minimum(ratio * advantages, ratio.clamp(1 - epsilon, 1 + epsilon_high) * advantages)
    if dual_clip is not None:
        gain = torch.where(advantages < 0, torch.maximum(gain, dual_clip * advantages), gain)
    return -gain


def cispo_loss(logps: Tensor, ratio: Tensor, advantages: Tensor, epsilon: float, epsilon_high: float) -> Tensor:
    """Returns -sg[clip(r, 1 - epsilon, 1 + epsilon_high)] A log pi, `[B, T]`: clipped weights, and no token silenced.

    CISPO of MiniMax-M1 (arXiv 2506.13585), which sets epsilon so large that only the upper bound is
    felt.

    Example:
        >>> cispo_loss(torch.tensor([[-2.0]]), torch.tensor([[1.5]]), torch.tensor([[1.0]]), 0.2, 0.25).item()
        2.5
    """
    return -ratio.detach().clamp(1 - epsilon, 1 + epsilon_high) * advantages * logps


def sapo_loss(
    ratio: Tensor, advantages: Tensor, temperature_positive: float = 1.0, temperature_negative: float = 1.05
) -> Tensor:
    """Returns -sigmoid(tau (r - 1)) 4 / tau A, `[B, T]`: a gate that closes softly where the clip cuts.

    tau is `temperature_positive` where A > 0, else `temperature_negative`. At r = 1 the gradient by the log-prob is -A
    for every tau, that of the clipped loss (SAPO, arXiv 2511.20347).

    Example:
        >>> sapo_loss(torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, -1.0]]), 1.0, 2.0).tolist()
        [[-2.0, 1.0]]
    """
    temperature = torch.where(advantages > 0, temperature_positive, temperature_negative).to(ratio.dtype)
    return -torch.sigmoid(temperature * (ratio - 1)) * 4 / temperature * advantages


def sequence_log_ratio(log_ratio: Tensor, completion_mask: Tensor) -> Tensor:
    """Returns the mean log-ratio of each row's tokens, `[B, 1]`: the log of gspo's ratio (pi / pi_old)^(1 / length).

    GSPO (arXiv 2507.18071). The mean is differentiated itself: every token of a row gets the same gradient.

    Args:
        log_ratio: `[B, T]`, 0 where there is no token.
        completion_mask: `[B, T]`.

    Example:
        >>> sequence_log_ratio(torch.tensor([[0.5, 0.25, 0.0]]), torch.tensor([[1.0, 1.0, 0.0]])).tolist()
        [[0.375]]
    """
    return log_ratio.sum(dim=1, keepdim=True) / completion_mask.sum(dim=1, keepdim=True).clamp(min=1)


def _clipped_tokens(
    kind: LossType, ratio: Tensor, advantages: Tensor, epsilon: float, epsilon_high: float
) -> dict[str, Tensor]:
    """Returns which tokens the lower and the upper bound have cut, `[B, T]`."""
    is_low, is_high = ratio < 1 - epsilon, ratio > 1 + epsilon_high
    if kind is not LossType.cispo:  # the minimum takes the clipped side only where it is the worse one
        is_low, is_high = is_low & (advantages < 0), is_high & (advantages > 0)
    return {"clip_low_share": is_low, "clip_high_share": is_high}


def _masked_sum(values: Tensor, is_token: Tensor) -> Tensor:
    return torch.where(is_token, values, 0).sum()


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
