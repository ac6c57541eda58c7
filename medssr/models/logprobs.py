"""Computes log-probs, entropies and mean log-probs over the vocabulary at completion tokens, from a model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medssr.errors import InputError
from medssr.models.attention import packed_mask
from medssr.models.batching import RolloutBatch
from medssr.models.packing import PackedRollouts
from medssr.models.sharding import call_as_forward
from medssr.models.token_scores import entropy_gradient, token_entropies, token_logps, token_mean_logps

# Settings of model families that change the logits after the head, which the chunked head does not support.
_LOGIT_CHANGES = ("final_logit_softcapping", "logit_scale", "logits_scaling")


def completion_logps(model: Any, batch: RolloutBatch, temperature: float, chunk_tokens: int | None = None) -> Tensor:
    """Returns the log-probability of each completion token under `model`, `[B, T]`, in nats.

    Args:
        model: A causal language model.
        batch: The padded batch.
        temperature: The temperature of sampling; the logits are divided by it.
        chunk_tokens: Number of tokens whose logits exist at the same time, without padding, where the result is then 0;
            None for all.

    Raises:
        InputError: When chunks are requested for a model that changes its logits after the head.
    """
    if chunk_tokens is None:
        return token_logps(completion_logits(model, batch, temperature), batch.completion_ids)
    return _completion_scores_in_chunks(model, batch, temperature, chunk_tokens, has_mean_logps=False)[0]


def completion_logps_and_entropies(
    model: Any, batch: RolloutBatch, temperature: float, chunk_tokens: int | None = None
) -> tuple[Tensor, Tensor]:
    """Returns log-probability and entropy of each completion token, both `[B, T]`; arguments as `completion_logps`."""
    if chunk_tokens is None:
        logits = completion_logits(model, batch, temperature)
        return token_logps(logits, batch.completion_ids), token_entropies(logits)
    return _completion_scores_in_chunks(model, batch, temperature, chunk_tokens, has_mean_logps=False)[:2]


def completion_statistics(
    model: Any, batch: RolloutBatch, temperature: float, chunk_tokens: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns log-probability, entropy and mean log-prob over the vocabulary at each completion token, all `[B, T]`.

    The arguments are those of `completion_logps`.
    """
    if chunk_tokens is None:
        logits = completion_logits(model, batch, temperature)
        return token_logps(logits, batch.completion_ids), token_entropies(logits), token_mean_logps(logits)
    return _completion_scores_in_chunks(model, batch, temperature, chunk_tokens, has_mean_logps=True)


def packed_logps(
    model: Any, packed: PackedRollouts, temperature: float, chunk_tokens: int | None = None, *, has_entropies: bool
) -> tuple[Tensor, Tensor]:
    """Returns log-probability and entropy of each completion token, both `[B, T]`, 0 at padding.

    Args:
        model: A model that takes packed rows (`models.attention.adopt_attention`).
        packed: The packed completions.
        temperature: The temperature of sampling; the logits are divided by it.
        chunk_tokens: Number of tokens whose logits exist at the same time; None for all.
        has_entropies: Whether to compute entropies; zeros otherwise.
    """
    return _packed_scores(model, packed, temperature, chunk_tokens, has_entropies, has_mean_logps=False)[:2]


def packed_statistics(
    model: Any, packed: PackedRollouts, temperature: float, chunk_tokens: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns what `completion_statistics` does, `[B, T]`, 0 at padding; the arguments are those of `packed_logps`."""
    return _packed_scores(model, packed, temperature, chunk_tokens, has_entropies=True, has_mean_logps=True)


def _packed_scores(
    model: Any,
    packed: PackedRollouts,
    temperature: float,
    chunk_tokens: int | None,
    has_entropies: bool,
    has_mean_logps: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return head_scores(
        model,
        packed_hidden(model, packed),
        packed.completion_ids,
        packed.completion_mask.bool(),
        temperature,
        chunk_tokens or len(packed.predictors),
        has_entropies,
        has_mean_logps,
    )


def packed_hidden(model: Any, packed: PackedRollouts) -> Tensor:
    """Returns the hidden state before each completion token, `[N, H]`, row by row."""
    hidden: Tensor = model.get_decoder()(
        input_ids=packed.input_ids,
        position_ids=packed.position_ids,
        attention_mask=packed.input_ids.new_zeros(1, 1, 1, 1),  # four dimensions, so that transformers creates no mask
        packed_blocks=packed_mask(model, packed),
        use_cache=False,
    ).last_hidden_state[0]
    return hidden.index_select(0, packed.predictors)


def head_scores(
    model: Any,
    hidden: Tensor,
    completion_ids: Tensor,
    is_token: Tensor,
    temperature: float,
    chunk_tokens: int,
    has_entropies: bool,
    has_mean_logps: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns log-probs, entropies and mean log-probs, `[B, T]`, from the hidden state before each token."""
    columns = call_as_forward(
        model.get_output_embeddings(),
        lambda head: _chunked_scores(
            hidden,
            head.weight,
            head.bias,
            completion_ids[is_token],
            temperature,
            chunk_tokens,
            has_entropies,
            has_mean_logps,
        ),
    )
    logps, entropies, mean_logps = (
        column.new_zeros(is_token.shape).masked_scatter(is_token, column) for column in columns
    )
    return logps, entropies, mean_logps


def _completion_scores_in_chunks(
    model: Any, batch: RolloutBatch, temperature: float, chunk_tokens: int, *, has_mean_logps: bool
) -> tuple[Tensor, Tensor, Tensor]:
    changed = changes_logits(model)
    if changed is not None:
        raise InputError(f"grpo.head_chunk_tokens: {chunk_tokens}; a model with {changed} needs null or auto.")
    return head_scores(
        model,
        padded_hidden(model, batch),
        batch.completion_ids,
        batch.completion_mask.bool(),
        temperature,
        chunk_tokens,
        has_entropies=True,
        has_mean_logps=has_mean_logps,
    )


def padded_hidden(model: Any, batch: RolloutBatch) -> Tensor:
    """Returns the hidden state before each completion token, `[N, H]`, row by row."""
    hidden: Tensor = model.get_decoder()(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        position_ids=batch.position_ids,
        use_cache=False,
    ).last_hidden_state[:, -batch.completion_ids.shape[1] - 1 : -1]
    return hidden[batch.completion_mask.bool()]


def changes_logits(model: Any) -> str | None:
    """Returns the setting by which a model changes its logits after the head; None if it does not."""
    return next((name for name in _LOGIT_CHANGES if getattr(model.config, name, None) is not None), None)


def completion_logits(model: Any, batch: RolloutBatch, temperature: float) -> Tensor:
    """Returns the logits of the completion tokens under `model`, `[B, T, V]` in float32.

    Args:
        model: A causal language model.
        batch: The padded batch.
        temperature: The temperature of sampling; the logits are divided by it.
    """
    logits: Tensor = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        position_ids=batch.position_ids,
        # The logits of a token are at the position before it, so those at the last position are not needed.
        logits_to_keep=batch.completion_ids.shape[1] + 1,
        use_cache=False,
    ).logits[:, :-1]
    return logits.float() / temperature


def chunked_logps(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    token_ids: Tensor,
    temperature: float,
    chunk_tokens: int,
    has_entropies: bool = True,
) -> tuple[Tensor, Tensor]:
    """Returns log-prob and entropy of each token, `[N]`, from the hidden states before the language-model head.

    The logits, `[N, V]`, exist only for `chunk_tokens` tokens at a time, and are recomputed in the backward pass.

    Args:
        hidden: `[N, H]`.
        weight: `[V, H]`, the weight of the head.
        bias: `[V]`, the bias of the head, or None.
        token_ids: `[N]`.
        temperature: Divides the logits.
        chunk_tokens: At least 1.
        has_entropies: Whether to compute entropies; zeros otherwise.

    Example:
        >>> logps, entropies = chunked_logps(torch.zeros(2, 3), torch.ones(4, 3), None, torch.tensor([0, 3]), 1.0, 1)
        >>> [round(value, 4) for value in (*logps.tolist(), *entropies.tolist())]  # four equal choices: -ln 4, ln 4
        [-1.3863, -1.3863, 1.3863, 1.3863]
    """
    return _chunked_scores(hidden, weight, bias, token_ids, temperature, chunk_tokens, has_entropies, False)[:2]


def _chunked_scores(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    token_ids: Tensor,
    temperature: float,
    chunk_tokens: int,
    has_entropies: bool,
    has_mean_logps: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns what `chunked_logps` does, and the mean log-prob over the vocabulary or zeros; all `[N]`."""
    kind = hidden.device.type
    if torch.is_autocast_enabled(kind):  # inside the function it would apply only to the forward pass
        dtype = torch.get_autocast_dtype(kind)
        hidden, weight, bias = hidden.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    with torch.autocast(kind, enabled=False):
        logps, entropies, mean_logps = _ChunkedLogps.apply(
            hidden, weight, bias, token_ids, temperature, chunk_tokens, has_entropies, has_mean_logps
        )
    return logps, entropies, mean_logps


class _ChunkedLogps(torch.autograd.Function):
    """Computes log-probs, entropies and mean log-probs; saves two numbers per token instead of logits.

    Operations on a chunk's logits are in place where possible: on a CPU they take as long as the matrix products.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        token_ids: Tensor,
        temperature: float,
        chunk_tokens: int,
        has_entropies: bool,
        has_mean_logps: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        assert has_entropies or not has_mean_logps, "without entropies the logits are overwritten"
        parts = []
        for rows, ids in zip(torch.split(hidden, chunk_tokens), torch.split(token_ids, chunk_tokens), strict=True):
            logits = _head(rows, weight, bias, temperature)
            largest = logits.amax(dim=-1, keepdim=True)
            chosen = logits.sub_(largest).gather(-1, ids.unsqueeze(-1)).squeeze(-1)
            weights = logits.exp() if has_entropies else logits.exp_()
            total = weights.sum(dim=-1)
            log_total = total.log()
            entropy = torch.zeros_like(log_total)
            if has_entropies:  # H = log Z - sum p z
                entropy = log_total - weights.mul_(logits).sum(dim=-1) / total
            mean_logp = logits.mean(dim=-1) - log_total if has_mean_logps else torch.zeros_like(log_total)
            parts.append((chosen - log_total, entropy, mean_logp, largest.squeeze(-1) + log_total))
        logps, entropies, mean_logps, log_normalizers = (torch.cat(column) for column in zip(*parts, strict=True))
        ctx.save_for_backward(hidden, weight, bias, token_ids, log_normalizers, entropies)
        ctx.temperature, ctx.chunk_tokens = temperature, chunk_tokens
        ctx.mark_non_differentiable(*([mean_logps] if has_entropies else [entropies, mean_logps]))
        ctx.set_materialize_grads(False)  # most updates train no entropy
        return logps, entropies, mean_logps

    @staticmethod
    def backward(
        ctx: Any, grad_logps: Tensor | None, grad_entropies: Tensor | None, _: None
    ) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, token_ids, log_normalizers, entropies = ctx.saved_tensors
        if grad_logps is None:
            grad_logps = torch.zeros_like(log_normalizers)
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        # Summed over chunks in the logits' dtype, because rounding each sum to bfloat16 would bias the gradient.
        grad_weight = torch.zeros_like(weight, dtype=log_normalizers.dtype) if needs_weight else None
        grad_bias = torch.zeros_like(bias, dtype=log_normalizers.dtype) if needs_bias else None
        for start in range(0, len(hidden), ctx.chunk_tokens):
            chunk = slice(start, start + ctx.chunk_tokens)
            # d logp / d logits = one-hot - softmax
            scale = (grad_logps[chunk] / ctx.temperature).unsqueeze(-1)
            logps = _head(hidden[chunk], weight, bias, ctx.temperature).sub_(log_normalizers[chunk].unsqueeze(-1))
            by_entropy = None
            if grad_entropies is not None:
                entropy_scale = (grad_entropies[chunk] / ctx.temperature).unsqueeze(-1)
                by_entropy = entropy_gradient(logps, entropies[chunk]).mul_(entropy_scale)
            grad_logits = logps.exp_().mul_(-scale)
            grad_logits.scatter_add_(-1, token_ids[chunk].unsqueeze(-1), scale)
            if by_entropy is not None:
                grad_logits += by_entropy
            if grad_bias is not None:
                grad_bias += grad_logits.sum(dim=0)
            grad_logits = grad_logits.to(weight.dtype)
            if grad_hidden is not None:
                torch.mm(grad_logits, weight, out=grad_hidden[chunk])
            if grad_weight is not None:
                _add_product(grad_weight, grad_logits.T, hidden[chunk])
        return (
            grad_hidden,
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None if grad_bias is None else grad_bias.to(bias.dtype),
            *(None,) * 5,
        )


def _head(hidden: Tensor, weight: Tensor, bias: Tensor | None, temperature: float) -> Tensor:
    """Returns the logits of a chunk in a new tensor, at least float32.

    On a GPU, numbers of two bytes are summed up and kept in float32: rounded to bfloat16, a logit of 20 would be off by
    up to 0.06, more than an update changes it by.
    """
    if hidden.device.type == "cuda" and hidden.dtype in (torch.bfloat16, torch.float16):
        logits = torch.mm(hidden, weight.T, out_dtype=torch.float32)
        logits = logits if bias is None else logits.add_(bias)
    else:
        logits = torch.nn.functional.linear(hidden, weight, bias)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return logits if temperature == 1 else logits.div_(temperature)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Adds `left @ right` to the total, which may have a wider dtype."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right
