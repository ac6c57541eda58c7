"""Checks that an engine with a copy of the weights has the same log-probs as the trainer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from statistics import median
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

# A gap is suspicious above this multiple of the median of the gaps before it, and above what rounding makes in float32.
_SUSPICIOUS_RATIO = 5.0
_ROUNDING = 1e-4
_NUM_REMEMBERED = 25

_TEXT = (
    "A patient comes with tiredness, a rash on both cheeks and pain in the joints of the hands. Which of the following "
    "tests would you order first, and what would each of its possible results mean for the treatment? "
)


def measure_sync_gap(policy: Policy, sample: Sampler, cache_block_size: int, max_len: int) -> float:
    """Returns the mean log-prob difference between engine and policy on fixed prompts, in nats per token.

    Args:
        policy: The policy whose weights the engine has a copy of.
        sample: The engine's `generate`.
        cache_block_size: Number of tokens in a block of the engine's prefix cache.
        max_len: Maximum number of tokens of prompt and completion.
    """
    # The prompts are longer than a block of the prefix cache. So if the cache was not emptied, they hit entries of the
    # old weights, and the gap shows it.
    num_tokens = min(cache_block_size + 8, max_len - _SAMPLING.max_new_tokens)
    prompts = sync_prompts(policy.tokenizer, _NUM_PROMPTS, num_tokens)
    seeds = [[derive_seed("probe", index)] for index in range(_NUM_PROMPTS)]
    completions = [group[0] for group in sample(prompts, seeds, _SAMPLING)]
    return mean_logp_gap(policy.model, policy.tokenizer.pad_token_id, prompts, completions, _SAMPLING.temperature)


class SyncGapHistory:
    """The gaps after the last weight syncs, which a gap with stale weights stands out from."""

    def __init__(self) -> None:
        self._gaps: deque[float] = deque(maxlen=_NUM_REMEMBERED)

    def add(self, gap: float) -> str | None:
        """Adds the gap after a sync; returns a warning if it is far above the median of those before it."""
        usual = median(self._gaps) if self._gaps else gap
        self._gaps.append(gap)
        if gap <= max(_SUSPICIOUS_RATIO * usual, _ROUNDING):
            return None
        return (
            f"rollout: after this weight sync, the log-probs of trainer and engine differ by {gap:.3g} nats per token, "
            f"{gap / usual:.0f} times as much as usual ({usual:.3g}). If this persists (train/sync_logp_gap), the "
            "engine samples with stale or damaged weights."
        )


def changed_but_stale(
    before: tuple[Mapping[str, int], Mapping[str, int]], after: tuple[Mapping[str, int], Mapping[str, int]]
) -> str | None:
    """Returns the name of a weight that changed in the trainer, but not in the engine; None if there is none.

    Args:
        before: A checksum of each weight that was sent in the sync before, and of each weight that the engine then had.
        after: The same after this sync. Weights without a counterpart of the same name are not compared, such as
            those that the engine fuses.
    """
    (sent_before, held_before), (sent_after, held_after) = before, after
    for name in sent_after.keys() & held_after.keys() & sent_before.keys() & held_before.keys():
        if sent_after[name] != sent_before[name] and held_after[name] == held_before[name]:
            return name
    return None


def sync_prompts(tokenizer: Any, num_prompts: int, num_tokens: int) -> list[list[int]]:
    """Returns fixed prompts of ordinary text, so that the engine has them in its prefix cache from earlier checks.

    Args:
        tokenizer: The policy's tokenizer.
        num_prompts: Number of prompts; each starts at another word.
        num_tokens: Length of each prompt; a stale cache is detected only if it is longer than a cache block.
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
        model: The model whose weights the engine has a copy of.
        pad_id: The id of the padding token.
        prompts: Token ids of each prompt.
        completions: One completion per prompt, sampled by the engine, with its log-probs.
        temperature: The temperature that the engine sampled with.
    """
    batch = pad_rollouts(list(prompts), [item.token_ids for item in completions], pad_id, model.device)
    was_training = model.training
    model.eval()
    logps = completion_logps(model, batch, temperature)
    model.train(was_training)
    engine_logps = [torch.tensor(item.logps, device=logps.device) for item in completions]
    gaps = [local[: len(remote)] - remote for local, remote in zip(logps, engine_logps, strict=True)]
    return torch.cat(gaps).abs().mean().item()
