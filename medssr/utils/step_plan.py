"""The steps of a pipeline, and when the last of them ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class PlannedStep:
    """A step that a pipeline is going to run.

    Args:
        kind: What it does; steps of a kind take as long as their sizes say.
        size: How large it is, in any unit of its kind, such as steps of GRPO.
    """

    kind: str
    size: float = 1.0


class StepPlan:
    """Counts the steps of a pipeline and times them, to tell how long those behind the present one take.

    A step whose artefact exists takes no time and says nothing about others.

    Args:
        steps: All steps, in their order.
        clock: Returns seconds since any moment.

    Example:
        >>> now = iter([0.0, 10.0, 10.0]).__next__
        >>> plan = StepPlan([PlannedStep("evaluate"), PlannedStep("grpo", 150), PlannedStep("evaluate")], clock=now)
        >>> with plan.next() as number:
        ...     plan.note_work(share=1.0)
        >>> number
        '1/3'
        >>> with plan.next():
        ...     plan.seconds_behind(seconds_left=140.0)
        10.0
    """

    def __init__(self, steps: Sequence[PlannedStep], clock: Callable[[], float] = time.monotonic) -> None:
        self._steps = list(steps)
        self._clock = clock
        self._num_begun = 0
        self._start_s = 0.0
        self._share: float | None = None  # of the present step, that this process does
        self._seconds: dict[str, float] = {}  # by kind, for a size of 1

    @contextmanager
    def next(self) -> Iterator[str]:
        """Begins the next step, which lasts as long as the block; gives its number, such as "2/8"."""
        step = self._steps[self._num_begun]
        self._num_begun += 1
        self._share, self._start_s = None, self._clock()
        yield f"{self._num_begun}/{len(self._steps)}"
        if self._share:
            self._seconds[step.kind] = (self._clock() - self._start_s) / (step.size * self._share)

    def note_work(self, share: float) -> None:
        """Says that the present step has work to do, and the share of it that an earlier process has not done."""
        self._share = share

    def seconds_behind(self, seconds_left: float) -> float | None:
        """Returns how long the steps behind the present one take; None where none of a kind has run.

        Args:
            seconds_left: How long the present step goes on, which says what later ones of its kind take.
        """
        step, later = self._steps[self._num_begun - 1], self._steps[self._num_begun :]
        seconds = dict(self._seconds)
        if self._share and any(each.kind == step.kind for each in later):
            elapsed = self._clock() - self._start_s
            seconds[step.kind] = (elapsed + seconds_left) / (step.size * self._share)
        if not all(each.kind in seconds for each in later):
            return None
        return sum(seconds[each.kind] * each.size for each in later)
