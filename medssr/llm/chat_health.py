"""Decides when calls to a chat server are given up, because no further one is likely to be of use."""

from __future__ import annotations

import threading

# Calls that end in one way, one after the other, until the run stops. It has no usable answer yet, so its
# settings are likelier wrong than the questions.
_MOST_ALIKE = 10
# Calls without a usable answer one after the other, however they end: each failed after all its retries, or the
# server answered with what nobody can use. The server counts as out of order.
_MOST_IN_A_ROW = 50
# A server that asks for patience says nothing about the settings.
_PATIENCE = "api_error 429"


class Health:
    """Counts how calls end. Used by many threads at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._has_use = False
        self._kind: str | None = None
        self._num_alike = 0
        self._num_in_a_row = 0
        self._num_failures = 0
        self._has_new_use = False
        self._num_new_alike = 0

    def succeed(self, is_new: bool) -> None:
        """Takes note of an answer that was of use.

        Args:
            is_new: Whether the call was made now. An answer from the ledger says nothing about how the server is now.
        """
        with self._lock:
            self._has_use = True
            self._num_alike = self._num_in_a_row = self._num_failures = 0
            if is_new:
                self._has_new_use, self._num_new_alike = True, 0

    def fail(self, kind: str, is_failure: bool, is_new: bool) -> str | None:
        """Takes note of a call without a usable answer.

        Args:
            kind: The kind of failure, or of what came in place of a usable answer.
            is_failure: Whether the call failed: the model did not answer.
            is_new: As for `succeed`.

        Returns:
            Why the run should stop; None when it should go on.
        """
        with self._lock:
            self._num_alike = self._num_alike + 1 if kind == self._kind else 1
            if is_new:
                self._num_new_alike = self._num_new_alike + 1 if kind == self._kind else 1
            self._kind = kind
            self._num_in_a_row += is_new
            self._num_failures = self._num_failures + 1 if is_failure else 0
            if self._num_failures >= _MOST_IN_A_ROW:
                return f"the last {self._num_failures} calls failed"
            if self._num_in_a_row >= _MOST_IN_A_ROW:
                return f"none of the last {self._num_in_a_row} calls gave a usable answer"
            if not self._has_use and self._num_alike >= _MOST_ALIKE and kind != _PATIENCE:
                return f"the last {self._num_alike} calls ended alike, and no call has given a usable answer"
            if is_failure and not self._has_new_use and self._num_new_alike >= _MOST_ALIKE and kind != _PATIENCE:
                return f"the last {self._num_new_alike} calls ended alike, and no call of this run was answered"
            return None
