"""Whether an engine with a copy of the weights samples as the trainer would: a few tokens, scored by both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from medssr.engines.types import Completion, Sampling
from medssr.models.batching import pad_rollouts
from medssr.models.logprobs import completion_logps
from medssr.models.policy import Policy
from medssr.utils.seeding import derive_seed

Sampler = Callable[[list[list[int]], list[list[int]], Sampling], list[list[Completion]]]

_NUM_PROMPTS = 4
_SAMPLING = Sampling(temperature=1.0, max_new_tokens=8)

_TEXT = (
    "A patient comes with tiredness, a rash on both cheeks and pain in the joints of the hands. Which of the following "
    "tests would you order first, and what would each of its possible results mean for the treatment? "
)


def probe(policy: Policy, sample: Sampler, cache_unit: int, max_len: int) -> float:
    """Returns how far an engine's log-probs are from the policy's, in nats per token over a few fixed prompts.

    Args:
        policy: What the engine has a copy of.
        sample: The engine's `generate`.
        cache_unit: Tokens in a block of its prefix cache.
        max_len: The most tokens of a prompt with its completion.
    """
    # Longer than a block of the cache: there they are found, with the weights before, if it was not emptied.
    num_tokens = min(cache_unit + 8, max_len - _SAMPLING.max_new_tokens)
    prompts = probe_prompts(policy.tokenizer, _NUM_PROMPTS, num_tokens)
    seeds = [[derive_seed("probe", place)] for place in range(_NUM_PROMPTS)]
    completions = [group[0] for group in sample(prompts, seeds, _SAMPLING)]
    return mean_logp_gap(policy.model, policy.tokenizer.pad_token_id, prompts, completions, _SAMPLING.temperature)


def probe_prompts(tokenizer: Any, num_prompts: int, num_tokens: int) -> list[list[int]]:
    """Returns prompts of ordinary text, always the same ones, so that an engine has them in its prefix cache.

    Args:
        tokenizer: The policy's.
        num_prompts: Each starts at another word.
        num_tokens: Length of each; more than the cache's unit, or a stale cache would not show.
    """
    words = _TEXT.split(" ")
    repeats = 1 + num_tokens // len(words)  # a word has at least one token
    starts = range(num_prompts)
    texts = [" ".join(words[start:] + words * repeats) for start in starts]
    encoded: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return [row[:num_tokens] for row in encoded]


@torch.no_grad()
def mean_logp_gap(
    model: Any, pad_id: int, prompts: Sequence[list[int]], completions: Sequence[Completion], temperature: float
) -> float:
    """Returns the mean absolute difference between an engine's log-probs and the model's, in nats per token.

    Args:
        model: What the engine has a copy of.
        pad_id: The padding token's id.
        prompts: Token ids.
        completions: What the engine sampled, one for each prompt, with its log-probs.
        temperature: What the engine divided the logits by.
    """
    batch = pad_rollouts(list(prompts), [item.token_ids for item in completions], pad_id, model.device)
    was_training = model.training
    model.eval()
    logps = completion_logps(model, batch, temperature)
    model.train(was_training)
    engine_logps = [torch.tensor(item.logps, device=logps.device) for item in completions]
    gaps = [row[: len(other)] - other for row, other in zip(logps, engine_logps, strict=True)]
    return torch.cat(gaps).abs().mean().item()
