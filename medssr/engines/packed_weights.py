"""Packs weights into buffers of about the same size, as vLLM's receivers of broadcasts unpack them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NamedWeight = tuple[str, Tensor]


@dataclass(frozen=True, slots=True)
class PackedPart:
    """Some weights one behind the other in one buffer.

    Attributes:
        names: Their names.
        dtype_names: Their dtypes, such as "bfloat16".
        shapes: Their shapes.
        buffer: Their bytes, on their device.
    """

    names: list[str]
    dtype_names: list[str]
    shapes: list[list[int]]
    buffer: Tensor


def packed_parts(weights: Iterable[NamedWeight], part_bytes: int) -> Iterator[PackedPart]:
    """Yields the weights in parts; a part ends with the weight that makes it longer than `part_bytes`.

    vLLM's receivers end their buffers by the same rule, so each part is one broadcast.

    Args:
        weights: Names and weights.
        part_bytes: Size in bytes that all but the last part exceed.
    """
    part: list[NamedWeight] = []
    size = 0
    for name, weight in weights:
        part.append((name, weight))
        size += weight.nbytes
        if size > part_bytes:
            yield _packed(part)
            part, size = [], 0
    if part:
        yield _packed(part)


def _packed(part: Sequence[NamedWeight]) -> PackedPart:
    return PackedPart(
        [name for name, _ in part],
        [str(weight.dtype).removeprefix("torch.") for _, weight in part],
        [list(weight.shape) for _, weight in part],
        torch.cat([weight.contiguous().view(-1).view(torch.uint8) for _, weight in part]),
    )
