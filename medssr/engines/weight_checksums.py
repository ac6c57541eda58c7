"""Checksums that show whether a server has the weights it was given, also after steps too small for log-probs to show.

A server may hold a weight otherwise than the checkpoint: joined with others (query, key and value), split between
processes, padded or packed. So checksums are compared with those of the update before: a weight that had the same
checksum on the server must have it again, and where a weight has changed, its checksum on the server must have as well.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

# The checksum of a weight that a server has freed after packing it elsewhere.
_OF_NOTHING = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Checksums:
    """The checksums of one set of weights.

    Attributes:
        given: Of each weight that the server was given, by name, in the server's dtype.
        held: Of each weight that the server holds, by the process that holds it and the name.
    """

    given: Mapping[str, str] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)


def weight_checksum(weight: Tensor, dtype: torch.dtype) -> str:
    """Returns the SHA-256 of the bytes of a weight in a dtype, as servers compute it."""
    content: Any = weight.detach().to(dtype).cpu().contiguous().view(-1).view(torch.uint8).numpy()
    return hashlib.sha256(content).hexdigest()


def stale_weights(before: Checksums, after: Checksums) -> list[str]:
    """Returns the names of weights that a server was given but does not hold, in their order.

    Args:
        before: Checksums after an earlier update.
        after: Checksums after the last update.

    Example:
        >>> before = Checksums({"o_proj": "1"}, {"dp0:pp0:pcp0:tp0:o_proj": "1"})
        >>> stale_weights(before, Checksums({"o_proj": "2"}, {"dp0:pp0:pcp0:tp0:o_proj": "1"}))
        ['o_proj']
    """
    stale = []
    held_before = _by_copy(before.held)
    for (copy, name), held in _by_copy(after.held).items():
        earlier = held_before.get((copy, name))
        if name not in after.given or name not in before.given or earlier is None:
            continue
        was_equal = set(earlier.values()) == {before.given[name]}
        is_equal = set(held.values()) == {after.given[name]}
        has_changed = before.given[name] != after.given[name]
        if (was_equal and not is_equal) or (has_changed and held == earlier):
            stale.append(name)
    return list(dict.fromkeys(stale))


def _by_copy(held: Mapping[str, str]) -> dict[tuple[str, str], dict[str, str]]:
    """Returns the checksums of the parts of each weight, by the copy of the model and the name of the weight.

    A server that takes adapters has names of its own for the weights that they are added to.
    """
    parts: defaultdict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for key, checksum in held.items():
        holder, _, name = key.rpartition(":")
        if checksum != _OF_NOTHING:
            parts[holder.split(":")[0], name.replace(".base_layer.", ".")][holder] = checksum
    return dict(parts)
