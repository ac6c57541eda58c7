"""Log-probabilities and entropy of completion tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medssr.rl.batching import RolloutBatch


def completion_logits(model: Any, batch: RolloutBatch, temperature: float) -> Tensor:
    """Returns the logits of the completion tokens under `model`, `[B, T, V]` in float32.

    Args:
        model: A causal language model.
        batch: Prompts flush right, completions flush left of the border between them.
        temperature: What the sampler divided the logits by; the same division here makes the two agree.
    """
    logits: Tensor = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        position_ids=batch.position_ids,
        # The logit of a token stands at the token before it; the last one predicts nothing that was sampled.
        logits_to_keep=batch.completion_ids.shape[1] + 1,
        use_cache=False,
    ).logits[:, :-1]
    return logits.float() / temperature


def token_logps(logits: Tensor, token_ids: Tensor) -> Tensor:
    """Returns the log-probability of each token, `[B, T]`, in nats.

    Args:
        logits: `[B, T, V]`.
        token_ids: `[B, T]`.

    Example:
        >>> logps = token_logps(torch.zeros(1, 1, 4), torch.tensor([[2]]))
        >>> round(logps.item(), 4)  # one of four equal choices: -ln 4
        -1.3863
    """
    return logits.gather(-1, token_ids.unsqueeze(-1)).squeeze(-1) - logits.logsumexp(dim=-1)


@torch.no_grad()
def token_entropies(logits: Tensor) -> Tensor:
    """Returns the entropy of each position's distribution, `[B, T]`, in nats; without gradient.

    Args:
        logits: `[B, T, V]`.

    Example:
        >>> round(token_entropies(torch.zeros(1, 1, 4)).item(), 4)  # four equal choices: ln 4
        1.3863
    """
    logps = logits.log_softmax(dim=-1)
    return -(logps.exp() * logps).sum(dim=-1)
