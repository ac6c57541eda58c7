"""Decoding: a key-value cache with preallocated memory, the sampled tokens, and the sampling of a token."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

from medssr.engines.types import Sampling

# Number of tokens that memory is preallocated for at a time; few, because completions may end early.
_NUM_PREALLOCATED = 64


class PreallocatedCache(DynamicLayer):
    """The cache of a layer with preallocated memory, so that most new tokens do not copy the tokens before them.

    Args:
        keys: `[B, K, L, D]`, the keys of the prompts.
        values: `[B, K, L, D]`, the values of the prompts.
        num_copies: Number of completions of each prompt.
    """

    def __init__(self, keys: Tensor, values: Tensor, num_copies: int) -> None:
        super().__init__()
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self._key_buffer, self._value_buffer = (_expand_buffer(states, num_copies) for states in (keys, values))
        self._set_length(keys.shape[2])

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Appends a token, and returns the keys and values of all tokens, `[B, K, L, D]`."""
        length = self.get_seq_length()
        if length == self._key_buffer.shape[2]:
            self._key_buffer, self._value_buffer = _expand_buffer(self._key_buffer), _expand_buffer(self._value_buffer)
        self._key_buffer[:, :, length : length + 1] = key_states
        self._value_buffer[:, :, length : length + 1] = value_states
        return self._set_length(length + 1)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keeps only the rows with the given indices."""
        self._key_buffer, self._value_buffer = self._key_buffer[indices], self._value_buffer[indices]
        self._set_length(self.get_seq_length())

    def _set_length(self, length: int) -> tuple[Tensor, Tensor]:
        self.keys, self.values = self._key_buffer[:, :, :length], self._value_buffer[:, :, :length]
        return self.keys, self.values


def _expand_buffer(states: Tensor, num_copies: int = 1) -> Tensor:
    """Returns a buffer `[B * num_copies, K, L + _NUM_PREALLOCATED, D]` that begins with the states."""
    rows, heads, length, width = states.shape
    buffer = states.new_empty(rows * num_copies, heads, length + _NUM_PREALLOCATED, width)
    buffer[:, :, :length] = states.repeat_interleave(num_copies, dim=0)
    return buffer


def expand_cache(cache: Any, num_copies: int) -> None:
    """Repeats each row of a prompt cache `num_copies` times, and preallocates memory for new tokens."""
    for index, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer:  # other kinds of layers manage their memory themselves
            assert layer.keys is not None and layer.values is not None, "prompts have at least one token"
            cache.layers[index] = PreallocatedCache(layer.keys, layer.values, num_copies)
        else:
            layer.batch_repeat_interleave(num_copies)


class SampledTokens:
    """The sampled tokens of all rows, kept on the model's device until decoding ends.

    Args:
        num_rows: Number of rows.
        length: Maximum number of tokens of a row.
        device: The model's device.
    """

    def __init__(self, num_rows: int, length: int, device: torch.device) -> None:
        self._ids = torch.zeros(num_rows, length, dtype=torch.long, device=device)
        self._logps = torch.zeros(num_rows, length, device=device)
        self._lengths = torch.zeros(num_rows, dtype=torch.long, device=device)

    def add(self, rows: Tensor, index: int, ids: Tensor, logps: Tensor, is_wanted: Tensor) -> None:
        """Adds a token to each of the given rows; a row ends before its first token that is not wanted.

        Args:
            rows: `[B]`, the indices of the rows.
            index: The index of the token in its row.
            ids: `[B]`, the token ids.
            logps: `[B]`, their log-probs.
            is_wanted: `[B]`, whether the row had not ended before this token.
        """
        self._ids[rows, index] = ids
        self._logps[rows, index] = logps
        self._lengths[rows] += is_wanted

    def read_range(self, rows: Tensor, start: int, end: int) -> list[list[int]]:
        """Returns the token ids with indices from `start` (included) to `end` (excluded) of the given rows."""
        token_ids: list[list[int]] = self._ids[rows, start:end].tolist()
        return token_ids

    def read(self) -> list[tuple[list[int], list[float]]]:
        """Returns token ids and log-probs of each row up to its end."""
        lengths = self._lengths.tolist()
        return [
            (ids[:length], logps[:length])
            for ids, logps, length in zip(self._ids.tolist(), self._logps.tolist(), lengths, strict=True)
        ]


def filtered_logps(logits: Tensor, sampling: Sampling) -> Tensor:
    """Returns the log-probs that tokens are sampled from, -inf for tokens that top_k or top_p exclude.

    Args:
        logits: `[B, V]`.
        sampling: Temperature, top_k and top_p are applied in this order, each followed by normalisation, as in common
            engines. At temperature 0 all mass is on the likeliest token, the first of several.
    """
    if sampling.temperature == 0:
        certain = torch.full_like(logits, -torch.inf, dtype=torch.float32)
        return certain.scatter(-1, logits.argmax(dim=-1, keepdim=True), 0.0)
    logits = logits.float() if sampling.temperature == 1 else logits.float() / sampling.temperature
    logps = torch.log_softmax(logits, dim=-1)
    if 0 < sampling.top_k < logps.shape[-1]:
        smallest_kept = logps.topk(sampling.top_k, dim=-1).values[:, -1:]
        logps = torch.log_softmax(logps.masked_fill(logps < smallest_kept, -torch.inf), dim=-1)
    if sampling.top_p < 1:
        ordered, order = logps.sort(dim=-1, descending=True)
        mass_before = ordered.exp().cumsum(dim=-1) - ordered.exp()
        is_left_out = torch.zeros_like(logps, dtype=torch.bool).scatter(-1, order, mass_before >= sampling.top_p)
        logps = torch.log_softmax(logps.masked_fill(is_left_out, -torch.inf), dim=-1)
    return logps


def draw_tokens(logps: Tensor, uniforms: Tensor) -> Tensor:
    """Returns a sampled token per row, by inverting the cumulative distribution at the row's uniform number.

    Args:
        logps: `[B, V]`, normalised.
        uniforms: `[B]` in [0, 1).

    Example:
        >>> draw_tokens(torch.tensor([[0.25, 0.75]]).log(), torch.tensor([0.3])).tolist()
        [1]
    """
    cumulative = logps.exp().cumsum(dim=-1)
    # Scaled by the total, so that rounding cannot put a threshold above the last cumulative value.
    thresholds = uniforms.to(cumulative.dtype).unsqueeze(-1) * cumulative[:, -1:]
    tokens = torch.searchsorted(cumulative, thresholds, right=True).squeeze(-1)
    return tokens.clamp(max=logps.shape[-1] - 1)


def seeded_uniforms(seeds: list[int], length: int) -> Tensor:
    """Returns `[len(seeds), length]` uniform numbers; each row depends only on its seed.

    They are generated on the CPU, so that they are the same on any device.
    """
    rows = [torch.rand(length, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows)
