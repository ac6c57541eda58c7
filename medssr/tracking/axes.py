"""What training can be drawn over: steps, tokens, hours."""

from __future__ import annotations

from collections.abc import Mapping

STEP = "train/step"
TOKENS = "train/total_tokens"
HOURS = "time/hours"
AXES = (STEP, TOKENS, HOURS)

# What adds up to the place on an axis: the metric, and how many of its units are one of the axis.
_SUMMANDS = {"train/num_tokens": (TOKENS, 1), "time/step": (HOURS, 3600), "time/probe": (HOURS, 3600)}


class Progress:
    """Tokens and hours up to each step; what is logged again is counted once."""

    def __init__(self) -> None:
        self._totals = {TOKENS: 0.0, HOURS: 0.0}
        self._by_step: dict[int, dict[str, float]] = {}

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Takes metrics of a step; what a step logs again replaces what it logged, and ends what came after it."""
        if self._by_step and step < next(reversed(self._by_step)):
            for later in [number for number in self._by_step if number > step]:
                for name, value in self._by_step.pop(later).items():
                    self._count(name, -value)
        known = self._by_step.setdefault(step, {})
        for name in _SUMMANDS.keys() & metrics.keys():
            self._count(name, metrics[name] - known.get(name, 0.0))
            known[name] = metrics[name]

    def axes(self, step: int) -> dict[str, float]:
        """Returns the place of a step, the last that was added, on each axis.

        Example:
            >>> progress = Progress()
            >>> progress.add(0, {"train/num_tokens": 500.0, "time/step": 1800.0})
            >>> progress.add(1, {"train/num_tokens": 300.0, "time/step": 1800.0})
            >>> progress.axes(1)
            {'train/step': 1, 'train/total_tokens': 800.0, 'time/hours': 1.0}
        """
        return {STEP: step} | self._totals

    def _count(self, name: str, value: float) -> None:
        axis, units = _SUMMANDS[name]
        self._totals[axis] += value / units
