"""Decides when calls to a chat server are given up, because no further one is likely to be of use."""

from __future__ import annotations

import threading

# Calls that end in one way, one after the other, until the run stops. It has no usable answer yet, so its
# settings are likelier wrong than the questions.
_MOST_ALIKE = 10
# Calls that fail one after the other, each after all its retries, until the server counts as out of order.
_MOST_FAILURES_IN_A_ROW = 50
# A server that asks for patience says nothing about the settings.
_PATIENCE = "api_error 429"


class Health:
    """Counts how calls end. Used by many threads at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._has_answer = False
        self._kind: str | None = None
        self._num_alike = 0
        self._num_failures = 0

    def take(self, kind: str, is_failure: bool) -> str | None:
        """Takes note of how a call ended, and returns why the run should stop; None when it should go on.

        Args:
            kind: "answer", or the kind of failure or unusable answer.
            is_failure: Whether the call failed: the model did not answer.
        """
        with self._lock:
            self._has_answer |= kind == "answer"
            self._num_alike = self._num_alike + 1 if kind == self._kind else 1
            self._kind = kind
            self._num_failures = self._num_failures + 1 if is_failure else 0
            if self._num_failures >= _MOST_FAILURES_IN_A_ROW:
                return f"the last {self._num_failures} calls failed"
            if not self._has_answer and self._num_alike >= _MOST_ALIKE and kind != _PATIENCE:
                return f"the last {self._num_alike} calls ended alike, and no call has given a usable answer"
            return None
