"""Scaled dot-product attention for packed rows, in which the completions of a group share their prompt."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from medssr.models.packing import AttentionBlock

_NAME = "medssr_sdpa"
# The families for which tests compare packed with padded rows. In others, parts other than attention may depend on
# neighbouring tokens, or the logits may be changed after the head.
FAMILIES = frozenset({"llama", "mistral", "qwen2", "qwen3", "qwen3_moe"})


def adopt_attention(model: Any) -> bool:
    """Makes the model use `attention` if it is supported, and returns whether it does and so takes packed rows.

    A model is supported if its family is in `FAMILIES`, its attention implementation is `sdpa`, and every layer attends
    to all previous tokens; other models are not changed. For padded batches only the speed changes.
    """
    config = model.config
    if config._attn_implementation == _NAME:
        return True
    if (
        config._attn_implementation != "sdpa"
        or config.model_type not in FAMILIES
        or getattr(config, "sliding_window", None) is not None
    ):
        return False
    _register()
    config._attn_implementation = _NAME
    return True


def _register() -> None:
    from transformers import AttentionInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface

    AttentionInterface.register(_NAME, attention)
    AttentionMaskInterface.register(_NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    packed_blocks: tuple[AttentionBlock, ...] | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Returns what transformers' `sdpa` returns, `[B, S, H, D]`.

    Args:
        module: The layer's attention.
        query: `[B, H, S, D]`.
        key: `[B, K, L, D]`, with H a multiple of K.
        value: Like the key.
        attention_mask: The mask that transformers creates for `sdpa`; not used for packed rows.
        dropout: Dropout probability of the attention weights.
        scaling: Factor of the dot products; None for D^-0.5.
        packed_blocks: Which tokens attend to which, if the batch is one packed row (`medssr.models.packing`).
        settings: Further arguments of transformers' `sdpa`.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if packed_blocks is not None:
        return _packed(query[0], key[0], value[0], packed_blocks, dropout, scaling), None
    batch, heads, queries, width = query.shape
    if queries == 1 and attention_mask is not None and heads > key.shape[1]:
        # The query heads that share a key head become queries of this head, so that keys need not be repeated.
        folded = query.view(batch, key.shape[1], -1, width)
        output = scaled_dot_product_attention(
            folded, key, value, attn_mask=attention_mask, dropout_p=dropout, scale=scaling
        )
        return output.view(batch, 1, heads, width), None
    return sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **settings
    )


def _packed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    blocks: tuple[AttentionBlock, ...],
    dropout: float,
    scaling: float | None,
) -> Tensor:
    """Returns `[1, N, H, D]` for the tokens of a packed row, from `[H, N, D]` and `[K, N, D]`."""
    query, key, value = query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1)  # [N, H or K, D]
    outputs, start = [], 0
    for block in blocks:
        span = slice(start, start + len(block.indices))
        start = span.stop
        queries, keys, values = _pad(block, query[span]), _pad(block, key[span]), _pad(block, value[span])
        if block.context is not None:
            keys = torch.cat([key[block.context], keys], dim=1)
            values = torch.cat([value[block.context], values], dim=1)
        is_grouped = query.device.type == "cpu"  # GPU kernels with a mask need one key head per query head
        if not is_grouped:
            repeats = query.shape[1] // key.shape[1]
            keys, values = keys.repeat_interleave(repeats, dim=2), values.repeat_interleave(repeats, dim=2)
        output = scaled_dot_product_attention(
            queries.transpose(1, 2),
            keys.transpose(1, 2),
            values.transpose(1, 2),
            attn_mask=None if block.mask is None else block.mask.to(queries.dtype),  # autocast may change the dtype
            dropout_p=dropout,
            is_causal=block.mask is None,
            scale=scaling,
            enable_gqa=is_grouped,
        )
        outputs.append(output.transpose(1, 2).flatten(0, 1).index_select(0, block.indices))
    return torch.cat(outputs).unsqueeze(0)


def _pad(block: AttentionBlock, tokens: Tensor) -> Tensor:
    """Returns the block's tokens, `[T, H, D]`, as `[R, W, H, D]` with zeros for padding."""
    padded = tokens.new_zeros(block.num_rows * block.width, *tokens.shape[1:])
    return padded.index_copy(0, block.indices, tokens).view(block.num_rows, block.width, *tokens.shape[1:])
