"""Computes the log-likelihood of given continuations under a policy, with any rollout engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
