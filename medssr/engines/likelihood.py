"""How likely a policy finds given continuations: one forward pass, nothing is sampled, whatever the rollout engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from medssr.engines.hf_engine import left_pad, positions_of
from medssr.models.policy import Policy

# What a forward pass holds at most: tokens, padding included, and rows, each with logits over the vocabulary.
_BATCH_TOKENS, _BATCH_ROWS = 16_384, 64


@torch.inference_mode()
def continuation_logps(
    policy: Policy, prompts: Sequence[list[int]], continuations: Sequence[Sequence[list[int]]]
) -> list[list[float]]:
    """Returns, for each prompt, the log-likelihood of each of its continuations: the sum over their tokens, in nats.

    Continuations that differ in their last token alone, such as single letters, share one row of a forward pass.

    Args:
        policy: Model and tokenizer; the model is used where it is.
        prompts: Token ids of each prompt, at least one.
        continuations: For each prompt the token ids of its continuations, each at least one.
    """
    was_training = policy.model.training
    policy.model.eval()
    # A row is the prompt with all of a continuation but its last token; equal rows are computed once.
    rows: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for index, (prompt, group) in enumerate(zip(prompts, continuations, strict=True)):
        for place, continuation in enumerate(group):
            assert prompt
            assert continuation
            rows.setdefault((*prompt, *continuation[:-1]), []).append((index, place))
    result = [[0.0] * len(group) for group in continuations]
    for batch in _batches(list(rows)):
        users = [rows[row] for row in batch]
        num_kept = max(len(continuations[index][place]) for uses in users for index, place in uses)
        logps = _last_logps(policy, [list(row) for row in batch], num_kept)  # [B, num_kept, V]
        for row_logps, uses in zip(logps, users, strict=True):
            for index, place in uses:
                tokens = torch.tensor(continuations[index][place], device=logps.device)
                picked = row_logps[-len(tokens) :].gather(-1, tokens.unsqueeze(-1))
                result[index][place] = float(picked.sum())
    policy.model.train(was_training)
    return result


def _last_logps(policy: Policy, rows: list[list[int]], num_kept: int) -> Tensor:
    """Returns `[B, num_kept, V]`, the log-probabilities of the token behind each of the last `num_kept` tokens."""
    input_ids, attention_mask = left_pad(rows, policy.tokenizer.pad_token_id, policy.model.device)
    logits = policy.model(
        input_ids=input_ids,
        attention_mask=attention_mask,
        position_ids=positions_of(attention_mask),
        use_cache=False,
        logits_to_keep=num_kept,
    ).logits
    return torch.log_softmax(logits.float(), dim=-1)


def _batches(rows: list[tuple[int, ...]]) -> Iterator[list[tuple[int, ...]]]:
    """Yields rows of like length, as many as a forward pass may hold."""
    batch: list[tuple[int, ...]] = []
    for row in sorted(rows, key=len):
        if len(batch) == _BATCH_ROWS or (batch and (len(batch) + 1) * len(row) > _BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
