"""Warns when most completions are truncated: the results then depend on the limit, and not on the model."""

from __future__ import annotations

import logging
from collections.abc import Iterable

log = logging.getLogger(__name__)

# Number of completions after which a share is known well enough for a first warning.
_NUM_FIRST = 64


def truncation_warning(num_truncated: int, num_sampled: int, purpose: str, limit_key: str) -> str | None:
    """Returns a warning if more than half of the completions were truncated, else None.

    Args:
        num_truncated: Number of truncated completions.
        num_sampled: Number of completions.
        purpose: What the completions are for, as the beginning of the message.
        limit_key: Full key of the setting with the maximum length.

    Example:
        >>> truncation_warning(5, 10, "votes", "labeling.max_new_tokens") is None
        True
    """
    if 2 * num_truncated <= num_sampled:
        return None
    return (
        f"{purpose}: {num_truncated:,} of {num_sampled:,} completions ({num_truncated / num_sampled:.0%}) were cut off "
        f"before they ended, so the results are worth little. Raise {limit_key}; model=local and the presets of real "
        "models (docs/configs.md) bring a length for real models. If the model does not stop after its answer, give "
        "model.stop."
    )


class TruncationWatch:
    """Counts truncated completions, and logs a warning after the first ones and after the last if most are truncated.

    Args:
        purpose: What the completions are for, as the beginning of the message.
        limit_key: Full key of the setting with the maximum length.
        num_expected: Number of all completions.
    """

    def __init__(self, purpose: str, limit_key: str, num_expected: int) -> None:
        self._purpose = purpose
        self._limit_key = limit_key
        self._num_expected = num_expected
        self._num_truncated = 0
        self._num_sampled = 0
        self._is_checked = False

    def add(self, are_truncated: Iterable[bool]) -> None:
        """Counts completions."""
        for is_truncated in are_truncated:
            self._num_truncated += is_truncated
            self._num_sampled += 1
        is_last = self._num_sampled == self._num_expected
        if is_last or (self._num_sampled >= _NUM_FIRST and not self._is_checked):
            self._is_checked = True
            message = truncation_warning(self._num_truncated, self._num_sampled, self._purpose, self._limit_key)
            if message is not None:
                log.warning(message)
