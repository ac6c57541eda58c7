"""Generation with transformers: needs no further package, and shares the weights with the trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from medssr.engines.completions import find_stop, read_completions, stop_strings
from medssr.engines.decoding import SampledTokens, draw_tokens, expand_cache, filtered_logps, seeded_uniforms
from medssr.engines.types import Completion, Sampling
from medssr.models.attention import adopt_attention
from medssr.models.batching import left_pad, position_ids_of
from medssr.models.policy import Policy

# Finished rows are removed once at most this fraction is unfinished; removal copies the cache, so it is not done often.
_COMPACT_BELOW = 0.75
# Number of tokens after which stop strings are looked for; what was sampled behind one in between is cut off.
_STOP_INTERVAL = 16


class HFEngine:
    """Samples from the policy's own module, in batches of a fixed number of completions.

    Args:
        policy: Model and tokenizer; the engine uses the model itself, so no weights are copied.
        max_batch_size: Number of completions that are generated at the same time.
    """

    fills_gpu: ClassVar[bool] = False

    def __init__(self, policy: Policy, max_batch_size: int) -> None:
        self._policy = policy
        self._max_batch_size = max_batch_size
        adopt_attention(policy.model)

    def reserve(self, num_tokens: Callable[[], int]) -> None:
        """Does nothing: the cache of a batch is made for it."""

    def sync_weights(self, model: Any) -> None:
        """Checks that the engine uses this model; there are no weights to copy."""
        assert model is self._policy.model, "the engine was created for another policy"

    def release_memory(self) -> None:
        """Does nothing: the weights are the trainer's."""

    def close(self) -> None:
        """Does nothing: the caller owns the policy."""

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[list[int]], seeds: Sequence[Sequence[int]], sampling: Sampling
    ) -> list[list[Completion]]:
        """Returns for each prompt one completion per seed (see RolloutEngine)."""
        was_training = self._policy.model.training
        self._policy.model.eval()
        completions: list[list[Completion]] = [[] for _ in prompts]
        for batch in self._batches(prompts, seeds):
            groups = self._generate_batch([prompts[i] for i in batch], [list(seeds[i]) for i in batch], sampling)
            for index, group in zip(batch, groups, strict=True):
                completions[index] = group
        self._policy.model.train(was_training)
        return completions

    def _batches(self, prompts: Sequence[list[int]], seeds: Sequence[Sequence[int]]) -> Iterable[list[int]]:
        """Yields batches of indices of prompts with similar lengths, so that there is little padding."""
        order = sorted(range(len(prompts)), key=lambda index: (len(prompts[index]), index))
        size = max(1, self._max_batch_size // max((len(row) for row in seeds), default=1))
        return (order[start : start + size] for start in range(0, len(order), size))

    def _generate_batch(
        self, prompts: list[list[int]], seeds: list[list[int]], sampling: Sampling
    ) -> list[list[Completion]]:
        """Prefills each prompt once, then decodes all its completions; finished rows are removed from the batch."""
        model, device = self._policy.model, self._policy.model.device
        num_samples = len(seeds[0])
        cache, logits, attention_mask = self._prefill(prompts, num_samples)
        length, next_position = attention_mask.shape[1], attention_mask.sum(dim=1)
        # The mask covers prompt and completion; each step uses the columns up to the current token.
        attention_mask = pad(attention_mask, (0, sampling.max_new_tokens), value=1)
        uniforms = seeded_uniforms([seed for row in seeds for seed in row], sampling.max_new_tokens).to(device)
        eos_ids = torch.tensor(sorted(self._policy.eos_token_ids), device=device)
        stop = stop_strings(self._policy, sampling)
        sampled = SampledTokens(len(uniforms), sampling.max_new_tokens, device)
        batch_rows = torch.arange(len(uniforms), device=device)  # the index in `uniforms` of each row of the batch
        is_unfinished = torch.ones_like(batch_rows, dtype=torch.bool)
        for step in range(sampling.max_new_tokens):
            logps = filtered_logps(logits, sampling)
            tokens = draw_tokens(logps, uniforms[batch_rows, step])
            token_logps = logps.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
            sampled.add(batch_rows, step, tokens, token_logps, is_unfinished)
            is_unfinished &= ~torch.isin(tokens, eos_ids)
            if stop and (step + 1) % _STOP_INTERVAL == 0:
                is_unfinished &= ~self._has_stop(sampled, batch_rows, step + 1, stop)
            num_unfinished = int(is_unfinished.sum())
            if step + 1 == sampling.max_new_tokens or num_unfinished == 0:
                break
            if num_unfinished <= _COMPACT_BELOW * len(batch_rows):
                keep = is_unfinished.nonzero().squeeze(-1)
                cache.batch_select_indices(keep)
                batch_rows, tokens, next_position = batch_rows[keep], tokens[keep], next_position[keep]
                attention_mask, is_unfinished = attention_mask[keep], is_unfinished[keep]
            logits = model(
                input_ids=tokens.unsqueeze(-1),
                attention_mask=attention_mask[:, : length + step + 1],
                position_ids=next_position.unsqueeze(-1),
                past_key_values=cache,
                use_cache=True,
            ).logits[:, -1]
            next_position = next_position + 1
        token_rows, logp_rows = zip(*sampled.read(), strict=True)
        rows = read_completions(self._policy, token_rows, logp_rows, sampling)
        return [rows[start : start + num_samples] for start in range(0, len(rows), num_samples)]

    def _prefill(self, prompts: list[list[int]], num_samples: int) -> tuple[Any, Tensor, Tensor]:
        """Returns the cache of the prompts, the logits of the first tokens, `[B, V]`, and the prompts' mask, `[B, P]`.

        All have B rows, `num_samples` for each prompt.
        """
        model = self._policy.model
        input_ids, attention_mask = left_pad(prompts, self._policy.tokenizer.pad_token_id, model.device)
        output = model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids_of(attention_mask),
            use_cache=True,
            logits_to_keep=1,
        )
        expand_cache(output.past_key_values, num_samples)
        logits = output.logits[:, -1].repeat_interleave(num_samples, dim=0)
        return output.past_key_values, logits, attention_mask.repeat_interleave(num_samples, dim=0)

    def _has_stop(self, sampled: SampledTokens, rows: Tensor, length: int, stop: tuple[str, ...]) -> Tensor:
        """Returns for each row, `[B]`, whether a stop string ends in its last `_STOP_INTERVAL` tokens."""
        decode = self._policy.tokenizer.batch_decode
        # A token that begins within a character or a word is decoded with the tokens before it.
        window = _STOP_INTERVAL + max(len(string.encode()) for string in stop) + 4
        texts = decode(sampled.read_range(rows, max(0, length - window), length), skip_special_tokens=True)
        flags = [find_stop(text, stop) is not None for text in texts]
        for index in [index for index, flag in enumerate(flags) if flag]:
            (text,) = decode(sampled.read_range(rows[index : index + 1], 0, length), skip_special_tokens=True)
            flags[index] = find_stop(text, stop) is not None
        return torch.tensor(flags, device=rows.device)
