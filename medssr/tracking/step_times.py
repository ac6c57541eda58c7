"""Where the seconds of a training step go."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import Any

import torch

# The parts of a step, in the order in which a step begins with them.
PARTS = ("rollout", "reward", "reference", "forward", "backward", "optimizer", "sync")
# In these, a process with the whole model does not wait for others.
_LOCAL_PARTS = ("rollout", "reward", "reference", "forward")
_clock = time.perf_counter


class StepTimes:
    """Measures the parts of a training step.

    Parts can be nested; the time of an inner part is not counted for the outer one. On a GPU, times are those of its
    work: each change of part records an event in the current stream, and nothing waits for one before the step ends.
    """

    def __init__(self) -> None:
        self._marks: list[tuple[str | None, Any]] = []  # the part that begins, and when
        self._open: list[str | None] = []
        self._is_on_gpu = False

    def start(self, device: torch.device) -> None:
        """Begins a step, whose work is on a device."""
        self._is_on_gpu = device.type == "cuda"
        self._marks, self._open = [], [None]
        self._mark(None)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Counts the time of the block for a part of the step; outside a step, it is not counted."""
        assert name in PARTS
        if not self._open:
            yield
            return
        self._open.append(name)
        self._mark(name)
        try:
            with torch.profiler.record_function(name):  # names the part in a trace
                yield
        finally:
            self._open.pop()
            self._mark(self._open[-1])

    def stop(self) -> dict[str, float]:
        """Ends the step; returns the seconds of each part, and of the whole as "step"."""
        self._mark(None)
        if self._is_on_gpu:
            self._marks[-1][1].synchronize()
        self._open = []
        seconds = dict.fromkeys(PARTS, 0.0)
        for (name, begin), (_, end) in zip(self._marks, self._marks[1:], strict=False):
            if name is not None:
                seconds[name] += _seconds_between(begin, end)
        return seconds | {"step": _seconds_between(self._marks[0][1], self._marks[-1][1])}

    def _mark(self, name: str | None) -> None:
        """Notes that a part begins; None for the rest of the step."""
        if self._is_on_gpu:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append((name, event))
        else:
            self._marks.append((name, _clock()))


def _seconds_between(begin: Any, end: Any) -> float:
    """Returns the seconds between two events of a GPU, or two readings of the clock."""
    if isinstance(begin, float):
        return float(end - begin)
    return float(begin.elapsed_time(end)) / 1000  # milliseconds


def step_time_metrics(by_process: Sequence[Mapping[str, float]], num_tokens: float) -> dict[str, float]:
    """Returns the metrics of the seconds of a step.

    Each part is a mean over the processes. "wait" is how much longer the slowest needs than the mean, for rollouts with
    their rewards and for forward passes. After rollouts the others wait for it outside all parts; after forward passes
    they wait in the average of gradients, so that their "backward" has it.

    Args:
        by_process: The seconds of each part, and of the step, in each process.
        num_tokens: Prompt and completion tokens of the step, over all processes.

    Example:
        >>> fast = dict.fromkeys(PARTS, 0.0) | {"rollout": 2.0, "forward": 1.0, "step": 6.0}
        >>> metrics = step_time_metrics([fast, fast | {"rollout": 4.0, "step": 6.0}], num_tokens=1200)
        >>> metrics["time/rollout"], metrics["time/wait"], metrics["time/tokens_per_second"]
        (3.0, 1.0, 200.0)
    """
    metrics = {f"time/{name}": fmean(seconds[name] for seconds in by_process) for name in PARTS}
    local = [sum(seconds[name] for name in _LOCAL_PARTS) for seconds in by_process]
    step = max(seconds["step"] for seconds in by_process)
    return metrics | {
        "time/wait": max(local) - fmean(local),
        "time/step": step,
        "time/tokens_per_second": num_tokens / step,
    }
