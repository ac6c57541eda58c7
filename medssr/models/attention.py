"""Attention for packed rows, in which the completions of a group share their prompt.

By default `scaled_dot_product_attention` computes one block of segments of similar length after the other, with dense
masks. With `model.attn_implementation=flex_attention` a kernel that is compiled for the row's mask computes only the
tiles of it that have anything to attend to, and takes grouped heads as they are. It computes no gradients on a CPU.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

from medssr.config.arrangements import FLEX_ATTENTION
from medssr.models.packing import AttentionBlock, PackedRollouts

_FLEX = "medssr_flex"
# The implementations that are replaced, with the names of what takes their place.
_NAMES = {"sdpa": "medssr_sdpa", FLEX_ATTENTION: _FLEX}
# The families for which tests compare packed with padded rows. In others, parts other than attention may depend on
# neighbouring tokens, or the logits may be changed after the head.
FAMILIES = frozenset({"llama", "mistral", "qwen2", "qwen3", "qwen3_moe"})


def adopt_attention(model: Any) -> bool:
    """Makes the model use `attention` if it is supported, and returns whether it does and so takes packed rows.

    A model is supported if its family is in `FAMILIES`, its attention implementation is `sdpa` or `flex_attention`, and
    every layer attends to all previous tokens; other models are not changed. Padded batches are computed by `sdpa`, and
    only their speed changes.
    """
    config = model.config
    if config._attn_implementation in _NAMES.values():
        return True
    if (
        config._attn_implementation not in _NAMES
        or config.model_type not in FAMILIES
        or getattr(config, "sliding_window", None) is not None
    ):
        return False
    _register()
    config._attn_implementation = _NAMES[config._attn_implementation]
    return True


def _register() -> None:
    from transformers import AttentionInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface

    for name in _NAMES.values():
        AttentionInterface.register(name, attention)
        AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])


def takes_blocks(model: Any) -> bool:
    """Returns whether an adopted model computes packed rows block by block."""
    return bool(model.config._attn_implementation != _FLEX)


class PackedMask:
    """Which tokens of a packed row attend to which, in an object that layers pass on without a look inside.

    Compiled layers would be compiled anew for each number of blocks, if they were given these themselves.
    """

    def __init__(self, parts: tuple[AttentionBlock, ...] | BlockMask) -> None:
        """Takes the blocks of segments, or the mask by tiles."""
        self.parts = parts


def packed_mask(model: Any, packed: PackedRollouts) -> PackedMask:
    """Returns which tokens of a packed row attend to which, as an adopted model takes it."""
    return PackedMask(packed.blocks if takes_blocks(model) else block_mask(packed))


def block_mask(packed: PackedRollouts) -> BlockMask:
    """Returns the mask of a packed row of N tokens by tiles, without an `[N, N]` matrix on a GPU.

    A token attends to itself, to those before it in its segment, and to the whole prompt that its segment continues.
    """
    segments, contexts = packed.segments, packed.contexts

    def attends(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        is_before = (segments[query] == segments[key]) & (query >= key)
        return is_before | (contexts[query] == segments[key])

    create = _compiled(create_block_mask) if segments.is_cuda else create_block_mask
    mask: BlockMask = create(attends, None, None, len(segments), len(segments), device=segments.device)
    return mask


@cache
def _compiled(function: Any) -> Any:
    """Returns the function compiled for rows of any length; uncompiled it makes the matrices that it is to avoid."""
    return torch.compile(function, dynamic=True)


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    packed_blocks: PackedMask | None = None,
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
        return _packed(query, key, value, packed_blocks, dropout, scaling), None
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


@torch.compiler.disable(reason="its shapes differ from row to row, and FlexAttention is compiled by itself")  # type: ignore[untyped-decorator]
def _packed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: PackedMask,
    dropout: float,
    scaling: float | None,
) -> Tensor:
    """Returns `[1, N, H, D]` for the tokens of a packed row, from `[1, H, N, D]` and `[1, K, N, D]`."""
    if isinstance(mask.parts, BlockMask):
        flex = _compiled(flex_attention) if query.is_cuda else flex_attention
        output: Tensor = flex(query, key, value, block_mask=mask.parts, scale=scaling, enable_gqa=True)
        return output.transpose(1, 2)
    return _by_blocks(query[0], key[0], value[0], mask.parts, dropout, scaling)


def _by_blocks(
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
