"""Attention of the models that medssr trains: torch's scaled dot product, without work that a group need not repeat."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from medssr.models.packing import AttentionBlock

_NAME = "medssr_sdpa"
# The families that tests hold packed rows against padded ones for. In others something beside attention may look at
# neighbouring tokens, or change the logits.
FAMILIES = frozenset({"llama", "mistral", "qwen2", "qwen3", "qwen3_moe"})


def adopt_attention(model: Any) -> bool:
    """Returns whether the model attends by `attention` from now on, and so takes packed rows.

    It does so where its family is known, transformers' `sdpa` was to be used, and every layer attends to all tokens
    before; any other model stays as it is. For batches that are not packed nothing changes but speed.
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
        attention_mask: What transformers makes for `sdpa`; of no use for packed rows.
        dropout: Of attention weights.
        scaling: Of the products; None for D^-0.5.
        packed_blocks: Which tokens attend to which, where the batch is one packed row (`rl.packing`).
        settings: Passed on.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if packed_blocks is not None:
        return _packed(query[0], key[0], value[0], packed_blocks, dropout, scaling), None
    batch, heads, queries, width = query.shape
    if queries == 1 and attention_mask is not None and heads > key.shape[1]:
        # The query heads of a key head as so many queries of it: the keys need not be repeated for them.
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
        span = slice(start, start + len(block.places))
        start = span.stop
        queries, keys, values = _pad(block, query[span]), _pad(block, key[span]), _pad(block, value[span])
        if block.context is not None:
            keys = torch.cat([key[block.context], keys], dim=1)
            values = torch.cat([value[block.context], values], dim=1)
        is_grouped = query.device.type == "cpu"  # GPU kernels that take a mask want a key head for each query head
        if not is_grouped:
            repeats = query.shape[1] // key.shape[1]
            keys, values = keys.repeat_interleave(repeats, dim=2), values.repeat_interleave(repeats, dim=2)
        output = scaled_dot_product_attention(
            queries.transpose(1, 2),
            keys.transpose(1, 2),
            values.transpose(1, 2),
            attn_mask=None if block.mask is None else block.mask.to(queries.dtype),  # autocast may have changed it
            dropout_p=dropout,
            is_causal=block.mask is None,
            scale=scaling,
            enable_gqa=is_grouped,
        )
        outputs.append(output.transpose(1, 2).flatten(0, 1).index_select(0, block.places))
    return torch.cat(outputs).unsqueeze(0)


def _pad(block: AttentionBlock, tokens: Tensor) -> Tensor:
    """Returns the block's tokens, `[T, H, D]`, as `[R, W, H, D]` with zeros for padding."""
    padded = tokens.new_zeros(block.num_rows * block.width, *tokens.shape[1:])
    return padded.index_copy(0, block.places, tokens).view(block.num_rows, block.width, *tokens.shape[1:])
