"""Finds the valid names that are nearest to a wrong one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_MAX_NAMES = 3


def nearest_names(wrong: str, names: Iterable[str]) -> list[str]:
    """Returns the names that somebody may have meant, likeliest first, three at most.

    A dotted name is also found by its last part alone, when what stands before it was left out or is another.

    Example:
        >>> nearest_names("grpo.num_step", ["grpo.num_steps", "grpo.beta", "seed"])
        ['grpo.num_steps']
        >>> nearest_names("lr", ["optim.optimizer.lr", "seed"])
        ['optim.optimizer.lr']
    """
    candidates = list(names)
    last = wrong.rpartition(".")[2]
    same_end = [name for name in candidates if name.rpartition(".")[2] == last]
    similar = get_close_matches(wrong, candidates, _MAX_NAMES, cutoff=0.75)
    ends = {name.rpartition(".")[2]: name for name in reversed(candidates)}
    similar_end = [ends[end] for end in get_close_matches(last, ends, _MAX_NAMES, cutoff=0.8)]
    return list(dict.fromkeys([*same_end, *similar, *similar_end]))[:_MAX_NAMES]


def did_you_mean(wrong: str, names: Iterable[str]) -> str:
    """Returns a question with the nearest names, with a space before it; empty where none is near.

    Example:
        >>> did_you_mean("larg", ["default", "large"])
        ' Did you mean large?'
    """
    nearest = nearest_names(wrong, names)
    return f" Did you mean {' or '.join(nearest)}?" if nearest else ""
