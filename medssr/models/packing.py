"""Completions and their prompts in one row without padding, each prompt once: what the update computes on.

A group's completions share their prompt. Computing it once for all of them, and no padding, leaves the gradient as it
is: what a token attends to is the same as when each completion stands behind a prompt of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

# Rows of one attention call are at least this share of its longest, so that few of its places are padding.
_LIKE_LENGTH = 0.5


@dataclass(frozen=True, slots=True)
class AttentionBlock:
    """Stretches of the packed row that attend side by side, padded on the right to the longest.

    Attributes:
        num_rows: Stretches, R.
        width: Tokens of the longest, W.
        places: `[number of tokens]`, where in `[R * W]` each token of the block stands, in the packed row's order.
        context: `[R, C]`, places in the packed row of the prompt that each stretch continues; None for prompts.
        mask: `[R, 1, W, C + W]`, 0 where a token attends and -inf where not; None for prompts, which are causal.
    """

    num_rows: int
    width: int
    places: Tensor
    context: Tensor | None = None
    mask: Tensor | None = None


@dataclass(frozen=True, slots=True)
class PackedRollouts:
    """B completions, and the prompts that they continue, as one row of N tokens.

    The last token of a completion predicts nothing and is not among them.

    Attributes:
        input_ids: `[1, N]`.
        position_ids: `[1, N]`, as if each completion stood behind a prompt of its own.
        blocks: Which tokens attend to which; their tokens one after the other are the row.
        predictors: `[M]`, for each of the M completion tokens the place of the token before it.
        completion_ids: `[B, T]`, padded on the right.
        completion_mask: `[B, T]`, 1 for tokens.
    """

    input_ids: Tensor
    position_ids: Tensor
    blocks: tuple[AttentionBlock, ...]
    predictors: Tensor
    completion_ids: Tensor
    completion_mask: Tensor


def pack_rollouts(
    prompts: Sequence[list[int]],
    completions: Sequence[list[int]],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> PackedRollouts:
    """Returns the packed row of the completions; those with equal prompts share one.

    Args:
        prompts: Of each completion, at least one token.
        completions: At least one token each.
        device: Where the tensors are made.
        dtype: Of the masks, that of the model.

    Example:
        >>> packed = pack_rollouts([[5, 6], [5, 6], [7]], [[8, 9], [4, 3], [2, 1]])
        >>> packed.input_ids.tolist(), packed.position_ids.tolist()
        ([[5, 6, 7, 8, 4, 2]], [[0, 1, 0, 2, 2, 1]])
        >>> packed.predictors.tolist()  # 8 and 4 follow 6, 9 follows 8, 3 follows 4, and so on
        [1, 3, 1, 4, 2, 5]
    """
    number_of = {prompt: number for number, prompt in enumerate(dict.fromkeys(tuple(prompt) for prompt in prompts))}
    prompt_of = [number_of[tuple(prompt)] for prompt in prompts]
    num_prompts = len(number_of)
    stretches = [list(prompt) for prompt in number_of] + [completion[:-1] for completion in completions]
    first_positions = [0] * num_prompts + [len(prompt) for prompt in prompts]

    input_ids: list[int] = []
    position_ids: list[int] = []
    starts = [0] * len(stretches)  # of each stretch in the packed row
    blocks = []
    for is_prompt, members in _blocks([len(stretch) for stretch in stretches], num_prompts):
        for member in members:
            starts[member] = len(input_ids)
            input_ids += stretches[member]
            first = first_positions[member]
            position_ids += range(first, first + len(stretches[member]))
        block = _prompt_block([len(stretches[member]) for member in members], device)
        if not is_prompt:
            contexts = [prompt_of[member - num_prompts] for member in members]
            spans = [(starts[number], len(stretches[number])) for number in contexts]
            block = _with_context(block, spans, device, dtype)
        blocks.append(block)

    predictors: list[int] = []
    for row, completion in enumerate(completions):
        prompt, own = prompt_of[row], num_prompts + row
        predictors.append(starts[prompt] + len(stretches[prompt]) - 1)
        predictors += range(starts[own], starts[own] + len(completion) - 1)
    ids = [torch.tensor(completion) for completion in completions]
    return PackedRollouts(
        torch.tensor([input_ids], device=device),
        torch.tensor([position_ids], device=device),
        tuple(blocks),
        torch.tensor(predictors, device=device),
        pad_sequence(ids, batch_first=True).to(device),
        pad_sequence([torch.ones(len(row)) for row in ids], batch_first=True).to(device),
    )


def _blocks(lengths: list[int], num_prompts: int) -> Iterator[tuple[bool, list[int]]]:
    """Yields whether a block holds prompts, and its stretches: like lengths together, prompts before completions."""
    for first, last in ((0, num_prompts), (num_prompts, len(lengths))):
        members: list[int] = []
        for member in sorted(range(first, last), key=lambda stretch: -lengths[stretch]):
            if lengths[member] == 0:  # a completion of one token: its prompt predicts it
                continue
            if members and lengths[member] < _LIKE_LENGTH * lengths[members[0]]:
                yield first == 0, members
                members = []
            members.append(member)
        if members:
            yield first == 0, members


def _prompt_block(lengths: list[int], device: torch.device | str) -> AttentionBlock:
    width = lengths[0]
    places = [row * width + column for row, length in enumerate(lengths) for column in range(length)]
    return AttentionBlock(len(lengths), width, torch.tensor(places, device=device))


def _with_context(
    block: AttentionBlock, spans: list[tuple[int, int]], device: torch.device | str, dtype: torch.dtype
) -> AttentionBlock:
    """Returns the block with what comes before each of its stretches: `spans` has first place and length of it."""
    starts = torch.tensor([start for start, _ in spans], device=device).unsqueeze(1)
    lengths = torch.tensor([length for _, length in spans], device=device).unsqueeze(1)
    columns = torch.arange(max(length for _, length in spans), device=device)
    is_context = columns < lengths  # [R, C]
    own = torch.ones(block.width, block.width, dtype=torch.bool, device=device).tril()  # [W, W]
    is_seen = torch.cat(
        [
            is_context.unsqueeze(1).expand(-1, block.width, -1),
            own.unsqueeze(0).expand(block.num_rows, -1, -1),
        ],
        dim=2,
    ).unsqueeze(1)
    mask = torch.zeros(is_seen.shape, dtype=dtype, device=device).masked_fill_(~is_seen, -torch.inf)
    return AttentionBlock(
        block.num_rows, block.width, block.places, torch.where(is_context, starts + columns, starts), mask
    )


def split_by_packed_tokens(
    prompts: Sequence[list[int]], completion_lengths: Sequence[int], max_tokens: int
) -> list[list[int]]:
    """Returns the rows of each micro-batch: a prompt's completions together, each packed row within the budget.

    Prompts whose longest completions are of like length are neighbours. A completion that exceeds the budget with its
    prompt gets a micro-batch of its own.

    Args:
        prompts: Of each row.
        completion_lengths: Tokens of each row's completion.
        max_tokens: Bound on the tokens of a packed row.

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
        is_there = False  # the prompt, in the micro-batch that is being filled
        for row in rows:
            own = completion_lengths[row] - 1
            added = own if is_there else len(shared) + own
            if num_tokens + added > max_tokens:
                batches.append([])
                num_tokens, added = 0, len(shared) + own
            batches[-1].append(row)
            num_tokens, is_there = num_tokens + added, True
    return batches
