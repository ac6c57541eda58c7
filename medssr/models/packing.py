"""Packs completions and their prompts into one row without padding, with each prompt only once.

The completions of a group share their prompt. Each token attends to the same tokens as if every completion had its own
copy of the prompt, so packing does not change the gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

# Rows of one attention call have at least this fraction of the longest row's length, so that there is little padding.
_MIN_LENGTH_RATIO = 0.5


@dataclass(frozen=True, slots=True)
class AttentionBlock:
    """Segments (prompts or completions) of the packed row that attend in one call, padded to the longest.

    Attributes:
        num_rows: R, the number of segments.
        width: W, the length of the longest.
        indices: `[num_tokens]`, the index in `[R * W]` of each token of the block, in the order of the packed row.
        context: `[R, C]`, the indices in the packed row of the prompt that each segment continues; None for prompts.
        mask: `[R, 1, W, C + W]`, 0 where a token attends, else -inf; None for prompts, whose attention is causal.
    """

    num_rows: int
    width: int
    indices: Tensor
    context: Tensor | None = None
    mask: Tensor | None = None


@dataclass(frozen=True, slots=True)
class PackedRollouts:
    """B completions and their prompts as one row of N tokens.

    The last token of each completion is left out, since it predicts nothing.

    Attributes:
        input_ids: `[1, N]`.
        position_ids: `[1, N]`, as if each completion had its own copy of the prompt.
        blocks: Which tokens attend to which; the row is the concatenation of their tokens. Empty if not asked for.
        segments: `[N]`, the number of the segment (prompt or completion) that each token belongs to.
        contexts: `[N]`, the number of the prompt that the token's segment continues; -1 for tokens of prompts.
        predictors: `[M]`, for each of the M completion tokens the index of the token before it.
        completion_ids: `[B, T]`, padded on the right.
        completion_mask: `[B, T]`, 1 for tokens.
    """

    input_ids: Tensor
    position_ids: Tensor
    blocks: tuple[AttentionBlock, ...]
    segments: Tensor
    contexts: Tensor
    predictors: Tensor
    completion_ids: Tensor
    completion_mask: Tensor


def pack_rollouts(
    prompts: Sequence[list[int]],
    completions: Sequence[list[int]],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    *,
    has_blocks: bool = True,
) -> PackedRollouts:
    """Returns the packed row of the completions; completions with equal prompts share one.

    Args:
        prompts: The prompt of each completion, at least one token.
        completions: The completions, at least one token each.
        device: The device of the tensors.
        dtype: The dtype of the masks, equal to the model's.
        has_blocks: Whether attention needs blocks with their masks (`medssr.models.attention.takes_blocks`).

    Example:
        >>> packed = pack_rollouts([[5, 6], [5, 6], [7]], [[8, 9], [4, 3], [2, 1]])
        >>> packed.input_ids.tolist(), packed.position_ids.tolist()
        ([[5, 6, 7, 8, 4, 2]], [[0, 1, 0, 2, 2, 1]])
        >>> packed.predictors.tolist()  # 8 and 4 follow 6, 9 follows 8, 3 follows 4, and so on
        [1, 3, 1, 4, 2, 5]
    """
    number_of = {prompt: number for number, prompt in enumerate(dict.fromkeys(tuple(prompt) for prompt in prompts))}
    prompt_of = [number_of[tuple(prompt)] for prompt in prompts]
    segments = [list(prompt) for prompt in number_of] + [completion[:-1] for completion in completions]
    lengths = [len(segment) for segment in segments]
    first_positions = [0] * len(number_of) + [len(prompt) for prompt in prompts]
    contexts = [-1] * len(number_of) + prompt_of

    layout = list(_blocks(lengths, len(number_of)))
    order = [segment for _, members in layout for segment in members]  # of the segments in the packed row
    starts = _starts(order, lengths)
    tokens = [(segment, offset) for segment in order for offset in range(lengths[segment])]
    ids = [torch.tensor(completion) for completion in completions]
    return PackedRollouts(
        torch.tensor([[segments[segment][offset] for segment, offset in tokens]], device=device),
        torch.tensor([[first_positions[segment] + offset for segment, offset in tokens]], device=device),
        tuple(_attention_blocks(layout, starts, lengths, contexts, device, dtype)) if has_blocks else (),
        torch.tensor([segment for segment, _ in tokens], device=device),
        torch.tensor([contexts[segment] for segment, _ in tokens], device=device),
        torch.tensor(_predictors(starts, lengths, prompt_of), device=device),
        pad_sequence(ids, batch_first=True).to(device),
        pad_sequence([torch.ones(len(row)) for row in ids], batch_first=True).to(device),
    )


def _starts(order: Sequence[int], lengths: Sequence[int]) -> list[int]:
    """Returns the index in the packed row of the first token of each segment; 0 for an empty one."""
    starts, num_tokens = [0] * len(lengths), 0
    for segment in order:
        starts[segment] = num_tokens
        num_tokens += lengths[segment]
    return starts


def _predictors(starts: Sequence[int], lengths: Sequence[int], prompt_of: Sequence[int]) -> list[int]:
    """Returns the index of the token before each completion token, row by row.

    These are the last token of the prompt, then all tokens of the completion but its last.
    """
    num_prompts = len(lengths) - len(prompt_of)
    return [
        index
        for segment, prompt in enumerate(prompt_of, start=num_prompts)
        for index in (
            starts[prompt] + lengths[prompt] - 1,
            *range(starts[segment], starts[segment] + lengths[segment]),
        )
    ]


def _attention_blocks(
    layout: Sequence[tuple[bool, list[int]]],
    starts: Sequence[int],
    lengths: Sequence[int],
    contexts: Sequence[int],
    device: torch.device | str,
    dtype: torch.dtype,
) -> Iterator[AttentionBlock]:
    """Yields the blocks of a layout; the context of each completion is its prompt."""
    for is_prompt, members in layout:
        block = _prompt_block([lengths[segment] for segment in members], device)
        spans = [(starts[contexts[segment]], lengths[contexts[segment]]) for segment in members]
        yield block if is_prompt else _with_context(block, spans, device, dtype)


def _blocks(lengths: list[int], num_prompts: int) -> Iterator[tuple[bool, list[int]]]:
    """Yields the segments of each block and whether they are prompts; prompts come first, similar lengths together."""
    for first, last in ((0, num_prompts), (num_prompts, len(lengths))):
        members: list[int] = []
        for segment_index in sorted(range(first, last), key=lambda segment: -lengths[segment]):
            if lengths[segment_index] == 0:  # a completion of one token: its prompt predicts it
                continue
            if members and lengths[segment_index] < _MIN_LENGTH_RATIO * lengths[members[0]]:
                yield first == 0, members
                members = []
            members.append(segment_index)
        if members:
            yield first == 0, members


def _prompt_block(lengths: list[int], device: torch.device | str) -> AttentionBlock:
    width = lengths[0]
    indices = [row * width + column for row, length in enumerate(lengths) for column in range(length)]
    return AttentionBlock(len(lengths), width, torch.tensor(indices, device=device))


def _with_context(
    block: AttentionBlock, spans: list[tuple[int, int]], device: torch.device | str, dtype: torch.dtype
) -> AttentionBlock:
    """Returns the block with the prompt of each segment as context; `spans` has start and length of each prompt."""
    starts = torch.tensor([start for start, _ in spans], device=device).unsqueeze(1)
    lengths = torch.tensor([length for _, length in spans], device=device).unsqueeze(1)
    columns = torch.arange(max(length for _, length in spans), device=device)
    is_context = columns < lengths  # [R, C]
    causal = torch.ones(block.width, block.width, dtype=torch.bool, device=device).tril()  # [W, W]
    is_attended = torch.cat(
        [
            is_context.unsqueeze(1).expand(-1, block.width, -1),
            causal.unsqueeze(0).expand(block.num_rows, -1, -1),
        ],
        dim=2,
    ).unsqueeze(1)
    mask = torch.zeros(is_attended.shape, dtype=dtype, device=device).masked_fill_(~is_attended, -torch.inf)
    return AttentionBlock(
        block.num_rows, block.width, block.indices, torch.where(is_context, starts + columns, starts), mask
    )


def split_by_packed_tokens(
    prompts: Sequence[list[int]], completion_lengths: Sequence[int], max_tokens: int
) -> list[list[int]]:
    """Returns the row indices of each micro-batch; completions of a prompt are together, within the token budget.

    Prompts whose longest completions have similar lengths are neighbours. A completion that exceeds the budget with its
    prompt is a micro-batch by itself.

    Args:
        prompts: The prompt of each row.
        completion_lengths: Number of tokens of each row's completion.
        max_tokens: The token budget: maximum number of tokens of a packed row.

    Example:
        >>> split_by_packed_tokens([[1, 2, 3], [4], [1, 2, 3], [4]], [5, 9, 6, 8], max_tokens=18)
        [[1, 3], [2, 0]]
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for row, prompt in enumerate(prompts):
        groups.setdefault(tuple(prompt), []).append(row)
    for rows in groups.values():
        rows.sort(key=lambda row: -completion_lengths[row])
    batches: list[list[int]] = []
    num_tokens = max_tokens + 1
    for shared, rows in sorted(groups.items(), key=lambda group: -completion_lengths[group[1][0]]):
        has_prompt = False  # whether the current micro-batch contains the prompt
        for row in rows:
            num_local = completion_lengths[row] - 1
            added = num_local if has_prompt else len(shared) + num_local
            if num_tokens + added > max_tokens:
                batches.append([])
                num_tokens, added = 0, len(shared) + num_local
            batches[-1].append(row)
            num_tokens, has_prompt = num_tokens + added, True
    return batches
