"""Decides in which order the inputs of a step are given to the processes of a reward, and which are skipped."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

from medssr.rewards.scoring import FaultKind, failed

# After this many killed processes in a step, a reward skips the rest, since each could take the full time-out.
MAX_KILLED_PER_STEP = 3


class InputQueue:
    """The inputs of a step for one reward: those that wait, those under way, and the results.

    Inputs arrive in any order and several processes take them, but the results are those of one process that takes
    them one after the other by their index: an input is skipped if `MAX_KILLED_PER_STEP` inputs with a smaller index
    have killed their process. So while the largest of the smallest such indices is unknown, all inputs below it are
    tried. Once so many have been killed, the queue waits for the last arrival and gives out the smallest index first;
    thus a step waits for few further time-outs, whatever the order of arrival.

    Args:
        location: Where the reward is, for the message of what is skipped.

    Example:
        >>> queue = InputQueue("my_module.MyReward")
        >>> for index in (2, 0, 1):
        ...     queue.add(index, f"input {index}")
        >>> queue.take(2)
        [(0, 'input 0'), (1, 'input 1')]
    """

    def __init__(self, location: str) -> None:
        self._location = location
        self._waiting: list[tuple[int, Any]] = []  # a heap
        self._indices: set[int] = set()
        self._killed: list[int] = []  # sorted
        self._results: dict[int, Any] = {}
        self._num_running = 0
        self._is_complete = False

    def add(self, index: int, scored_input: Any) -> None:
        """Adds an input; each has an index of its own."""
        assert index not in self._indices and not self._is_complete
        self._indices.add(index)
        heapq.heappush(self._waiting, (index, scored_input))

    def complete(self) -> None:
        """Says that no further input arrives."""
        self._is_complete = True

    @property
    def num_waiting(self) -> int:
        """The number of inputs that can be taken now."""
        if len(self._killed) < MAX_KILLED_PER_STEP:
            return len(self._waiting)
        if not self._is_complete:
            return 0
        return sum(index <= self._last_index for index, _ in self._waiting)

    @property
    def is_done(self) -> bool:
        """Whether all results are there."""
        return self._is_complete and self._num_running == 0 and self.num_waiting == 0

    def take(self, number: int) -> list[tuple[int, Any]]:
        """Returns the inputs with the smallest indices, at most so many, with their indices; none if none is to run."""
        taken = [heapq.heappop(self._waiting) for _ in range(min(number, self.num_waiting))]
        self._num_running += len(taken)
        return taken

    def put(self, index: int, result: Any, *, has_killed: bool) -> None:
        """Adds the result of an input that was taken, and whether its process had to be killed or died of it."""
        self._num_running -= 1
        self._results[index] = result
        if has_killed:
            self._killed = sorted([*self._killed, index])

    def put_back(self, inputs: Sequence[tuple[int, Any]]) -> None:
        """Adds inputs again that were taken and not tried."""
        self._num_running -= len(inputs)
        for item in inputs:
            heapq.heappush(self._waiting, item)

    def results(self) -> dict[int, Any]:
        """Returns the result of each input by its index, in the order of indices."""
        assert self.is_done
        cause = f"skipped: {MAX_KILLED_PER_STEP} processes had to be killed in this step already"
        skipped = failed(FaultKind.skipped, cause, self._location)
        return {i: self._results[i] if i <= self._last_index else skipped for i in sorted(self._indices)}

    @property
    def _last_index(self) -> float:
        """The largest index that is not skipped, as far as it is known."""
        has_many = len(self._killed) >= MAX_KILLED_PER_STEP
        return self._killed[MAX_KILLED_PER_STEP - 1] if has_many else float("inf")
