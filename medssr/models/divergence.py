"""The divergence of a policy's distribution from a teacher's at each token, over the whole vocabulary."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

from medssr.errors import InputError
from medssr.models.batching import RolloutBatch
from medssr.models.logprobs import changes_logits, head_scores, packed_hidden, padded_hidden
from medssr.models.packing import PackedRollouts


class TeacherStates(NamedTuple):
    """What a teacher computes for the completions of a micro-batch, without gradient.

    Attributes:
        hidden: `[N, H]`, the hidden state before each completion token, row by row.
        head_weight: `[V, H]`, of the language-model head.
        head_bias: `[V]`, or None.
    """

    hidden: Tensor
    head_weight: Tensor
    head_bias: Tensor | None


def generalized_jsd(logits: Tensor, teacher_logits: Tensor, interpolation: float) -> Tensor:
    """Returns the generalised Jensen-Shannon divergence of two distributions, `[N]`, in nats.

    For b the interpolation, P the teacher, Q the policy and M = b P + (1 - b) Q it is b KL(P || M) + (1 - b) KL(Q || M)
    (GKD, arXiv 2306.13649). At the ends, where that is 0, it is KL(P || Q) for b = 0, and KL(Q || P) for b = 1.

    Args:
        logits: `[N, V]`, of the policy.
        teacher_logits: `[N, V]`.
        interpolation: b, 0 to 1.

    Example:
        >>> policy, teacher = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.9, 0.1]]).log()
        >>> [round(generalized_jsd(policy, teacher, b).item(), 4) for b in (0, 0.5, 1)]
        [0.3681, 0.1017, 0.5108]
    """
    logps, teacher_logps = logits.log_softmax(dim=-1), teacher_logits.log_softmax(dim=-1)
    if interpolation == 0:
        return _kl(teacher_logps, logps)
    if interpolation == 1:
        return _kl(logps, teacher_logps)
    mixture = torch.logaddexp(teacher_logps + math.log(interpolation), logps + math.log(1 - interpolation))
    return interpolation * _kl(teacher_logps, mixture) + (1 - interpolation) * _kl(logps, mixture)


def _kl(first: Tensor, second: Tensor) -> Tensor:
    """Returns KL(first || second) of distributions given by their log-probs, `[N]`."""
    return (first.exp() * (first - second)).sum(dim=-1)


def check_head(model: Any) -> None:
    """Raises InputError for a model that changes its logits after the head, of which no divergence is computed."""
    changed = changes_logits(model)
    if changed is not None:
        raise InputError(f"grpo.distillation: a model with {changed} has other logits than its head; take null.")


def scores_and_divergences(
    model: Any,
    batch: RolloutBatch | PackedRollouts,
    teacher: TeacherStates,
    is_compared: Tensor,
    temperature: float,
    chunk_tokens: int,
    interpolation: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns log-probs, entropies and divergences of the completion tokens, all `[B, T]`, from one pass of the policy.

    The divergence, at temperature 1, has a gradient for the policy; it is 0 where tokens are not compared. The logits
    of both exist for `chunk_tokens` tokens at a time, and are computed again for the gradient. Those of bfloat16 heads
    are rounded to bfloat16 before the softmax, on both sides, unlike those of log-probs on GPUs.

    Args:
        model: The policy's model.
        batch: The completions.
        teacher: What the teacher has computed for the same completions.
        is_compared: `[B, T]`, whether the divergence of a token is computed.
        temperature: Divides the logits for log-probs and entropies.
        chunk_tokens: At least 1.
        interpolation: As for `generalized_jsd`.
    """
    hidden, is_token = _hidden(model, batch), batch.completion_mask.bool()
    logps, entropies, _ = head_scores(
        model,
        hidden,
        batch.completion_ids,
        is_token,
        temperature,
        chunk_tokens,
        has_entropies=True,
        has_mean_logps=False,
    )
    is_compared = is_compared.bool() & is_token
    chosen = is_compared[is_token]  # [N]
    chunks = zip(hidden[chosen].split(chunk_tokens), teacher.hidden[chosen].split(chunk_tokens), strict=True)
    head = model.get_output_embeddings()
    parts = [checkpoint(_chunk_divergence, *rows, head, teacher, interpolation, use_reentrant=False) for rows in chunks]
    divergences = torch.cat([logps.new_zeros(0), *parts])
    return logps, entropies, logps.new_zeros(is_token.shape).masked_scatter(is_compared, divergences)


@torch.no_grad()
def teacher_states(model: Any, batch: RolloutBatch | PackedRollouts, *, is_lent: bool) -> TeacherStates:
    """Returns what a teacher computes for completions.

    Args:
        model: The teacher's model.
        batch: The completions.
        is_lent: Whether the weights are those of the teacher only now, so that the head is copied.
    """
    head = model.get_output_embeddings()
    weight = head.weight.detach()
    return TeacherStates(_hidden(model, batch), weight.clone() if is_lent else weight, head.bias)


def _hidden(model: Any, batch: RolloutBatch | PackedRollouts) -> Tensor:
    return packed_hidden(model, batch) if isinstance(batch, PackedRollouts) else padded_hidden(model, batch)


def _chunk_divergence(
    hidden: Tensor, teacher_hidden: Tensor, head: Any, teacher: TeacherStates, interpolation: float
) -> Tensor:
    logits = linear(hidden, head.weight, head.bias).float()
    with torch.no_grad():
        teacher_logits = linear(teacher_hidden, teacher.head_weight, teacher.head_bias).float()
    return generalized_jsd(logits, teacher_logits, interpolation)
