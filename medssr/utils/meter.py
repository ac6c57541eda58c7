"""How much of some work is done, how fast and how long it takes, as numbers and as text."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime

# The rate is that of the last so many seconds, so that a slow start does not count for ever.
_WINDOW_S = 300.0
_MARK_EVERY_S = 1.0
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


class Meter:
    """How much of some work is done, how fast, and how long the rest takes.

    Args:
        total: Number of units; None if it is not known.
        start: When the work begins, in seconds.
    """

    def __init__(self, total: int | None, start: float) -> None:
        self.total = total
        self.done = 0
        self._num_skipped = 0
        self._start = start
        self._marks = deque([(start, 0)])  # (seconds, units done by then), the first at the begin of the window

    def add(self, number: int, now: float) -> None:
        """Counts units that were done until now."""
        self.done += number
        if now - self._marks[-1][0] >= _MARK_EVERY_S:
            self._marks.append((now, self.done))
        while len(self._marks) > 1 and now - self._marks[1][0] > _WINDOW_S:
            self._marks.popleft()

    def skip(self, number: int) -> None:
        """Counts units that took no time."""
        self.done += number
        self._num_skipped += number
        self._marks = deque((when, done + number) for when, done in self._marks)

    def tenth(self) -> int:
        """Returns how many tenths of the total are done; 0 if the total is not known."""
        return 10 * self.done // self.total if self.total else 0

    def share_of_this_process(self) -> float:
        """Returns the share of the total that no earlier process has done; 1 if the total is not known."""
        return 1 - self._num_skipped / self.total if self.total else 1.0

    def rate(self, now: float) -> float | None:
        """Returns units per second; None before any was done.

        Example:
            >>> meter = Meter(100, start=0.0)
            >>> meter.skip(40)
            >>> meter.add(20, now=10.0)
            >>> meter.done, meter.rate(10.0), meter.seconds_left(10.0)
            (60, 2.0, 20.0)
        """
        when, done = self._marks[0]
        return (self.done - done) / (now - when) if self.done > done and now > when else None

    def seconds_left(self, now: float) -> float | None:
        """Returns how long the rest takes at this rate; None if that is not known."""
        rate = self.rate(now)
        return None if rate is None or self.total is None else (self.total - self.done) / rate

    def text(
        self, unit: str, now: float, wall: float, is_last: bool = False, seconds_behind: float | None = None
    ) -> str:
        """Returns what is done, how fast, and when it ends.

        Args:
            unit: The name of the units.
            now: The time on the clock that counts the work.
            wall: The time of day, in seconds since the epoch.
            is_last: Whether the work has ended, so that the time that it took stands in place of the time left.
            seconds_behind: How long the steps of the pipeline behind this work take; None if that is not known.
        """
        of_total = "" if self.total is None else f" of {self.total:,}"
        share = f" ({self.done / self.total:.0%})" if self.total else ""
        text = f"{self.done:,}{of_total} {unit}{share}"
        if is_last:
            elapsed, number = now - self._start, self.done - self._num_skipped
            rate = f", {rate_text(number / elapsed, unit)}" if number and elapsed > 0 else ""
            return f"{text} in {duration_text(elapsed)}{rate}"
        rate_now, left = self.rate(now), self.seconds_left(now)
        text += "" if rate_now is None else f", {rate_text(rate_now, unit)}"
        if left is None:
            return text
        text += f", {duration_text(left)} left, until {_moment(wall + left, wall)}"
        if not seconds_behind:
            return text
        return f"{text}, pipeline until about {_moment(wall + left + seconds_behind, wall)}"


def rate_text(per_second: float, unit: str) -> str:
    """Returns a rate per second, minute or hour, whichever is the first with a number of at least 1.

    Example:
        >>> rate_text(12.34, "votes"), rate_text(0.05, "steps"), rate_text(0.0005, "steps")
        ('12.3 votes/s', '3 steps/min', '1.8 steps/h')
    """
    for seconds, name in ((1, "s"), (_MINUTE, "min")):
        if per_second * seconds >= 1:
            return f"{_number(per_second * seconds)} {unit}/{name}"
    return f"{_number(per_second * _HOUR)} {unit}/h"


def duration_text(seconds: float) -> str:
    """Returns a duration in its two largest units.

    Example:
        >>> duration_text(7.4), duration_text(200), duration_text(3840), duration_text(200_000)
        ('7 s', '3 min 20 s', '1 h 4 min', '2 d 7 h')
    """
    whole = round(seconds)
    for size, name, smaller_size, smaller in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // smaller_size} {smaller}"
    return f"{whole} s"


def facts_text(facts: Mapping[str, float]) -> str:
    """Returns numbers with their names, behind a semicolon.

    Example:
        >>> facts_text({"reward": 0.4375, "length": 87.25}), facts_text({})
        ('; reward 0.438, length 87.2', '')
    """
    return "; " + ", ".join(f"{name} {_number(value)}" for name, value in facts.items()) if facts else ""


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def time_stamp(wall: float) -> str:
    """Returns a moment, in seconds since the epoch, as date and local time of day."""
    return f"{datetime.fromtimestamp(wall):%Y-%m-%d %H:%M:%S}"


def _moment(wall: float, now: float) -> str:
    """Returns the time of day of a moment, with its date if that is not today's."""
    moment, today = datetime.fromtimestamp(wall), datetime.fromtimestamp(now)
    return f"{moment:%H:%M:%S}" if moment.date() == today.date() else f"{moment:%Y-%m-%d %H:%M}"
