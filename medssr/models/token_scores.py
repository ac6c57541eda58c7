"""Log-probs, entropies and mean log-probs of tokens, from their logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


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


def token_entropies(logits: Tensor) -> Tensor:
    """Returns the entropy of each position's distribution, `[B, T]`, in nats.

    Its graph keeps the logits alone, so that an entropy that is not trained costs no memory.

    Args:
        logits: `[B, T, V]`.

    Example:
        >>> round(token_entropies(torch.zeros(1, 1, 4)).item(), 4)  # four equal choices: ln 4
        1.3863
    """
    entropies: Tensor = _Entropies.apply(logits)
    return entropies


class _Entropies(torch.autograd.Function):
    """Computes entropies, and probabilities again for their gradient."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        logps = logits.log_softmax(dim=-1)
        entropies = -(logps.exp() * logps).sum(dim=-1)
        ctx.save_for_backward(logits, entropies)
        return entropies

    @staticmethod
    def backward(ctx: Any, grad_entropies: Tensor) -> Tensor:
        logits, entropies = ctx.saved_tensors
        return entropy_gradient(logits.log_softmax(dim=-1), entropies) * grad_entropies.unsqueeze(-1)


def entropy_gradient(logps: Tensor, entropies: Tensor) -> Tensor:
    """Returns the gradient of entropies by the logits of their distributions: dH / dz_v = -p_v (log p_v + H).

    Args:
        logps: `[..., V]`, the log-probs of all tokens.
        entropies: `[...]`.

    Example:
        >>> logps = torch.tensor([0.75, 0.25]).log()
        >>> entropy = -(logps.exp() * logps).sum()
        >>> [round(value, 4) for value in entropy_gradient(logps, entropy).tolist()]  # 3/16 ln 3, off the likelier
        [-0.206, 0.206]
    """
    return logps.exp().mul_(logps + entropies.unsqueeze(-1)).neg_()


@torch.no_grad()
def token_mean_logps(logits: Tensor) -> Tensor:
    """Returns the mean of the log-probs of all tokens at each position, `[B, T]`, in nats; without gradient.

    Minus it is log V + KL(U || p) for the uniform distribution U over the V tokens.

    Args:
        logits: `[B, T, V]`.

    Example:
        >>> round(token_mean_logps(torch.tensor([[[0.0, 0.0, 0.0, 0.0]]])).item(), 4)  # four equal choices: -ln 4
        -1.3863
    """
    return logits.mean(dim=-1) - logits.logsumexp(dim=-1)
