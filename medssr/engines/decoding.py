"""What decoding keeps: keys and values in memory that is taken once, and the tokens drawn so far."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

from medssr.engines.types import Sampling

# Tokens for which memory is taken at once: completions that end early must not hold that of the longest.
_ROOM = 64


class RoomyLayer(DynamicLayer):
    """Keys and values of a layer with room for more tokens, so that most tokens do not copy those before them.

    Args:
        keys: `[B, K, L, D]`, of the prompts.
        values: Like the keys.
        num_copies: Rows that continue each prompt.
    """

    def __init__(self, keys: Tensor, values: Tensor, num_copies: int) -> None:
        super().__init__()
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self._key_room, self._value_room = (_with_room(part, num_copies) for part in (keys, values))
        self._show(keys.shape[2])

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Adds a token and returns keys and values of all, `[B, K, L, D]`."""
        length = self.get_seq_length()
        if length == self._key_room.shape[2]:
            self._key_room, self._value_room = _with_room(self._key_room), _with_room(self._value_room)
        self._key_room[:, :, length : length + 1] = key_states
        self._value_room[:, :, length : length + 1] = value_states
        return self._show(length + 1)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keeps these rows alone."""
        self._key_room, self._value_room = self._key_room[indices], self._value_room[indices]
        self._show(self.get_seq_length())

    def _show(self, length: int) -> tuple[Tensor, Tensor]:
        self.keys, self.values = self._key_room[:, :, :length], self._value_room[:, :, :length]
        return self.keys, self.values


def _with_room(states: Tensor, num_copies: int = 1) -> Tensor:
    """Returns `[B * num_copies, K, L + room, D]` with the states in the first places."""
    rows, heads, length, width = states.shape
    room = states.new_empty(rows * num_copies, heads, length + _ROOM, width)
    room[:, :, :length] = states.repeat_interleave(num_copies, dim=0)
    return room


def make_room(cache: Any, num_copies: int) -> None:
    """Has the cache of some prompts continue with `num_copies` rows of each, a token at a time."""
    for place, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer:  # layers of other kinds keep what they need in their own way
            assert layer.keys is not None and layer.values is not None, "prompts have at least one token"
            cache.layers[place] = RoomyLayer(layer.keys, layer.values, num_copies)
        else:
            layer.batch_repeat_interleave(num_copies)


class DrawnTokens:
    """The tokens of every row, kept on the model's device until the last is drawn.

    Args:
        num_rows: Rows.
        length: Tokens of the longest.
        device: The model's.
    """

    def __init__(self, num_rows: int, length: int, device: torch.device) -> None:
        self._ids = torch.zeros(num_rows, length, dtype=torch.long, device=device)
        self._logps = torch.zeros(num_rows, length, device=device)
        self._lengths = torch.zeros(num_rows, dtype=torch.long, device=device)

    def add(self, rows: Tensor, place: int, ids: Tensor, logps: Tensor, is_wanted: Tensor) -> None:
        """Adds a token to each of the rows; from the first that is not wanted, a row has ended.

        Args:
            rows: `[B]`.
            place: How many tokens come before it.
            ids: `[B]`.
            logps: `[B]`.
            is_wanted: `[B]`.
        """
        self._ids[rows, place] = ids
        self._logps[rows, place] = logps
        self._lengths[rows] += is_wanted

    def read(self) -> list[tuple[list[int], list[float]]]:
        """Returns token ids and log-probs of each row up to its end."""
        lengths = self._lengths.tolist()
        return [
            (ids[:length], logps[:length])
            for ids, logps, length in zip(self._ids.tolist(), self._logps.tolist(), lengths, strict=True)
        ]


def filtered_logps(logits: Tensor, sampling: Sampling) -> Tensor:
    """Returns the log-probabilities that tokens are drawn from, -inf for tokens that top_k or top_p leave out.

    Args:
        logits: `[B, V]`.
        sampling: Temperature first, then top_k, then top_p, each renormalised, as the common engines do. At
            temperature 0 all mass is on the likeliest token, the first of several.
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
    """Returns a token per row by inverting the cumulative distribution at the row's uniform number.

    Args:
        logps: `[B, V]`, normalised.
        uniforms: `[B]` in [0, 1).

    Example:
        >>> draw_tokens(torch.tensor([[0.25, 0.75]]).log(), torch.tensor([0.3])).tolist()
        [1]
    """
    cumulative = logps.exp().cumsum(dim=-1)
    # Scaled by the total, so that rounding cannot leave a uniform number above the last step.
    thresholds = uniforms.to(cumulative.dtype).unsqueeze(-1) * cumulative[:, -1:]
    tokens = torch.searchsorted(cumulative, thresholds, right=True).squeeze(-1)
    return tokens.clamp(max=logps.shape[-1] - 1)


def seeded_uniforms(seeds: list[int], length: int) -> Tensor:
    """Returns `[len(seeds), length]` uniform numbers; each row depends on its seed alone.

    Made on the CPU, so that a GPU draws the same numbers.
    """
    rows = [torch.rand(length, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows)
