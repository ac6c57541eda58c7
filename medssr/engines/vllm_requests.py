"""Checks requests to vLLM and its limits, in process and by servers, and reads its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from medssr.engines.completions import read_completions
from medssr.engines.streaming import Request
from medssr.engines.types import Completion, Sampling
from medssr.errors import InputError
from medssr.models.lora import adapter_rank, has_adapters
from medssr.models.policy import Policy

# The values that vLLM's max_lora_rank can have.
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


def context_limit(policy: Policy, max_model_len: int | None) -> int:
    """Returns the maximum number of tokens of prompt and completion: the model's, or `rollout.max_model_len`.

    Raises:
        InputError: When the setting is above the model's.
    """
    longest: int = policy.model.config.max_position_embeddings
    if max_model_len is not None and max_model_len > longest:
        raise InputError(f"rollout.max_model_len: {max_model_len}; the model's context has {longest} tokens.")
    return longest if max_model_len is None else max_model_len


def max_lora_rank(model: Any) -> int | None:
    """Returns the smallest limit of vLLM that the rank of the model's adapters is within; None without adapters.

    Raises:
        InputError: When the rank is above all limits.
    """
    if not has_adapters(model):
        return None
    rank = adapter_rank(model)
    if rank > LORA_RANKS[-1]:
        raise InputError(f"lora.rank: {rank}; vLLM takes up to {LORA_RANKS[-1]}. Lower it, or take rollout=hf.")
    return next(limit for limit in LORA_RANKS if limit >= rank)


def check_length(num_tokens: int, limit: int) -> None:
    """Raises InputError if the longest prompt and its completion are longer than the limit of the context."""
    if num_tokens > limit:
        raise InputError(
            f"rollout.max_model_len: {limit}; the longest prompt and its completion need {num_tokens} tokens."
        )


def check_requests(requests: Sequence[Request], sampling: Sampling, max_len: int) -> None:
    """Checks requests for settings that vLLM would refuse or silently change.

    Args:
        requests: The requests.
        sampling: How tokens are sampled.
        max_len: Maximum number of tokens of prompt and completion.

    Raises:
        InputError: When the temperature is out of vLLM's range, or a prompt is too long.
    """
    if sampling.temperature != 0 and not 0.01 <= sampling.temperature <= 2:
        raise InputError(
            f"rollout: temperature {sampling.temperature}; vLLM takes 0.01 to 2, and 0. Or take rollout=hf."
        )
    for request in requests:
        needed = num_tokens(request, sampling)
        if needed > max_len:
            length = len(request.prompt)
            raise InputError(
                f"rollout: vLLM's max_model_len is {max_len}; a prompt of {length} tokens and a completion of "
                f"{needed - length} need {needed}."
            )


def cropped(request: Request, max_len: int) -> Request:
    """Returns a request whose letters are scored without the beginning of its prompt, if it would not fit.

    An answer that was cut off fills the context, and the cue for a letter comes after it.

    Args:
        request: Any request; one that samples stays as it is.
        max_len: Maximum number of tokens of prompt and completion.
    """
    return replace(request, prompt=request.prompt[1 - max_len :]) if request.scored else request


def num_tokens(request: Request, sampling: Sampling) -> int:
    """Returns the number of tokens of a request's prompt and its longest completion."""
    return len(request.prompt) + (1 if request.scored else sampling.max_new_tokens)


def num_completions(request: Request, sampling: Sampling) -> int:
    """Returns the number of completions that vLLM is asked for."""
    return 1 if request.scored else num_distinct(len(request.seeds), sampling)


def num_distinct(num_samples: int, sampling: Sampling) -> int:
    """Returns the number of completions to request: 1 at temperature 0, where all are equal and vLLM refuses more.

    Example:
        >>> num_distinct(4, Sampling(temperature=1.0, max_new_tokens=8)), num_distinct(4, Sampling(0.0, 8))
        (4, 1)
    """
    return num_samples if sampling.temperature > 0 else 1


def read_samples(
    policy: Policy,
    token_rows: Sequence[list[int]],
    logp_rows: Sequence[list[float]],
    num_samples: int,
    sampling: Sampling,
) -> list[Completion]:
    """Returns the completions of a prompt from the token ids and log-probs that vLLM returned.

    Args:
        policy: Decodes the tokens.
        token_rows: Token ids of the `num_distinct` completions.
        logp_rows: Log-prob of each token; empty rows if the sampling does not need them.
        num_samples: Number of completions to return.
        sampling: How the tokens were sampled.
    """
    if sampling.temperature == 0:  # vLLM returns log-probs at temperature 1; greedy tokens have probability 1
        logp_rows = [[0.0] * len(row) for row in logp_rows]
    completions = read_completions(policy, token_rows, logp_rows, sampling)
    return completions * (num_samples // len(completions))
