"""Computes the log-likelihood of given continuations: by a policy's forward pass, or from what an engine scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from medssr.models.batching import left_pad, position_ids_of
from medssr.models.policy import Policy

# Bounds of a forward pass: tokens, padding included, and rows, whose logits over the vocabulary take memory.
_BATCH_TOKENS, _BATCH_ROWS = 16_384, 64


@torch.inference_mode()
def continuation_logps(
    policy: Policy, prompts: Sequence[list[int]], continuations: Sequence[Sequence[list[int]]]
) -> list[list[float]]:
    """Returns the log-likelihood of each continuation of each prompt, summed over its tokens, in nats.

    Continuations that differ only in their last token, such as single letters, share one row of a forward pass.

    Args:
        policy: Model and tokenizer; the model stays on its device.
        prompts: Token ids of each prompt, at least one token.
        continuations: Token ids of the continuations of each prompt, at least one token each.
    """
    was_training = policy.model.training
    policy.model.eval()
    # A row is the prompt and all tokens of a continuation except its last; equal rows are computed once.
    rows: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for index, (prompt, group) in enumerate(zip(prompts, continuations, strict=True)):
        for choice, continuation in enumerate(group):
            assert prompt
            assert continuation
            rows.setdefault((*prompt, *continuation[:-1]), []).append((index, choice))
    result = [[0.0] * len(group) for group in continuations]
    for batch in _batches(list(rows)):
        users = [rows[row] for row in batch]
        num_kept = max(len(continuations[index][choice]) for uses in users for index, choice in uses)
        logps = _last_logps(policy, [list(row) for row in batch], num_kept)  # [B, num_kept, V]
        for row_logps, uses in zip(logps, users, strict=True):
            for index, choice in uses:
                tokens = torch.tensor(continuations[index][choice], device=logps.device)
                picked = row_logps[-len(tokens) :].gather(-1, tokens.unsqueeze(-1))
                result[index][choice] = float(picked.sum())
    policy.model.train(was_training)
    return result


def _last_logps(policy: Policy, rows: list[list[int]], num_kept: int) -> Tensor:
    """Returns the log-probs of the token after each of the last `num_kept` tokens, `[B, num_kept, V]`."""
    input_ids, attention_mask = left_pad(rows, policy.tokenizer.pad_token_id, policy.model.device)
    logits = policy.model(
        input_ids=input_ids,
        attention_mask=attention_mask,
        position_ids=position_ids_of(attention_mask),
        use_cache=False,
        logits_to_keep=num_kept,
    ).logits
    return torch.log_softmax(logits.float(), dim=-1)


def _batches(rows: list[tuple[int, ...]]) -> Iterator[list[tuple[int, ...]]]:
    """Yields batches of rows with similar lengths, within the bounds of a forward pass."""
    batch: list[tuple[int, ...]] = []
    for row in sorted(rows, key=len):
        if len(batch) == _BATCH_ROWS or (batch and (len(batch) + 1) * len(row) > _BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def prefixes_to_score(continuations: Sequence[Sequence[int]]) -> dict[tuple[int, ...], tuple[int, ...]]:
    """Returns the prefixes of continuations behind which tokens have to be scored, and these tokens in ascending order.

    Example:
        Continuations of one token need one prefix, the empty one.

        >>> prefixes_to_score([[7], [4]]), prefixes_to_score([[7], [2, 9]])
        ({(): (4, 7)}, {(): (2, 7), (2,): (9,)})
    """
    tokens: dict[tuple[int, ...], set[int]] = {}
    for continuation in continuations:
        for length, token in enumerate(continuation):
            tokens.setdefault(tuple(continuation[:length]), set()).add(token)
    return {prefix: tuple(sorted(scored)) for prefix, scored in tokens.items()}


def sums_of_scores(
    continuations: Sequence[Sequence[int]], scores: Mapping[tuple[int, ...], Mapping[int, float]]
) -> list[float]:
    """Returns the log-likelihood of each continuation, from the log-probs behind its prefixes.

    Args:
        continuations: Token ids.
        scores: Log-probs of tokens, by prefix (see `prefixes_to_score`).

    Example:
        >>> sums_of_scores([[7], [2, 9]], {(): {2: -1.0, 7: -0.5}, (2,): {9: -0.25}})
        [-0.5, -1.25]
    """
    return [
        sum(scores[tuple(continuation[:length])][token] for length, token in enumerate(continuation))
        for continuation in continuations
    ]
