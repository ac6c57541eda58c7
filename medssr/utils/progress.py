"""Progress of long work: a bar where standard error is a terminal, elsewhere lines with a timestamp in the log.

The log file of a run has the lines in both cases.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from medssr.utils.processes import is_main_process

log = logging.getLogger(__name__)

# Seconds without a line after which there is one, whether or not anything was done.
_LINE_EVERY_S = 30.0
# A tenth that is reached sooner after the last line gets none, so that short work does not fill the log.
_SHORTEST_GAP_S = 2.0
# A bar changes no more often, since a change takes longer than some units.
_BAR_EVERY_S = 0.1
# The rate is that of the last so many seconds, so that a slow start does not count for ever.
_WINDOW_S = 300.0
_MARK_EVERY_S = 1.0
_MINUTE, _HOUR, _DAY = 60, 3600, 86400

_is_shown: ContextVar[bool] = ContextVar("is_progress_shown", default=False)
_place: ContextVar[str] = ContextVar("place_of_progress", default="")


@contextmanager
def progress_shown(is_shown: bool) -> Iterator[None]:
    """Shows the progress of the work in the block, or does not; outside such a block it is not shown."""
    token = _is_shown.set(is_shown)
    try:
        yield
    finally:
        _is_shown.reset(token)


@contextmanager
def progress_at(place: str) -> Iterator[None]:
    """Puts a place such as "2/8" in front of the progress of the work in the block."""
    token = _place.set(f"[{place}] ")
    try:
        yield
    finally:
        _place.reset(token)


class Progress:
    """Counts the units of some work, and shows them between entering and leaving it as a context.

    Work of a process that is not the main one is counted and not shown. Leaving by an error shows nothing more.

    Args:
        what: What is done, in a word or two.
        total: Number of units; None if that is not known before the end.
        unit: The name of the units, in the plural.
        is_minor: Whether it is a part of a step that is usually short: it has lines only if it takes 30 seconds, and
            its bar goes when it ends.
        clock: Returns seconds since any moment.
        wall: Returns seconds since the epoch.
    """

    def __init__(
        self,
        what: str,
        total: int | None,
        unit: str,
        *,
        is_minor: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._title = _place.get() + what
        self._meter = Meter(total, clock())
        self._unit = unit
        self._is_silent = is_minor  # until 30 seconds have passed
        self._is_minor = is_minor
        self._clock, self._wall = clock, wall
        self._facts: dict[str, float] = {}
        self._lock = threading.Lock()
        self._is_open = False
        self._is_left = threading.Event()
        self._bar: Any = None
        self._last_line_s = self._last_shown_s = clock()
        self._last_tenth = 0

    def advance(self, number: int = 1, facts: Mapping[str, float] | None = None) -> None:
        """Counts units that were done now.

        Args:
            number: How many.
            facts: Further numbers to show, by name; they replace those that were given before.
        """
        with self._lock:
            self._meter.add(number, self._clock())
            if facts is not None:
                self._facts = dict(facts)
            self._show()

    def skip(self, number: int) -> None:
        """Counts units that an earlier process has done, which say nothing about the rate."""
        with self._lock:
            self._meter.skip(number)
            self._show()

    def beat(self) -> float:
        """Logs a line if there was none for 30 seconds; returns the seconds until the next is due."""
        with self._lock:
            if self._is_open and self._clock() - self._last_line_s >= _LINE_EVERY_S:
                self._is_silent = False
                self._log_line()
            return self._last_line_s + _LINE_EVERY_S - self._clock()

    def __enter__(self) -> Self:
        self._is_open = _is_shown.get() and is_main_process()
        if self._is_open:
            if has_terminal():
                self._bar = _Bar(self._title, self._meter.total, leaves=self._is_minor)
            self._log_line()
            threading.Thread(target=self._beat_until_left, name="progress", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_left.set()
        with self._lock:
            if self._is_open and kind is None:
                self._log_line(is_last=True)
            if self._bar is not None:
                self._bar.close(self._meter.done, self._facts)
            self._is_open = False

    def _beat_until_left(self) -> None:
        while not self._is_left.wait(self.beat()):
            pass

    def _show(self) -> None:
        """Updates the bar, and logs a line if a tenth was reached."""
        if not self._is_open:
            return
        now = self._clock()
        if self._bar is not None and now - self._last_shown_s >= _BAR_EVERY_S:
            self._last_shown_s = now
            self._bar.update(self._meter.done, self._facts)
        tenth, is_at_end = self._meter.tenth(), self._meter.done == self._meter.total
        if tenth > self._last_tenth and not is_at_end and now - self._last_line_s >= _SHORTEST_GAP_S:
            self._log_line()

    def _log_line(self, is_last: bool = False) -> None:
        if self._is_silent:
            return
        now = self._clock()
        self._last_line_s, self._last_tenth = now, self._meter.tenth()
        text = self._meter.text(self._unit, now, self._wall(), is_last)
        log.info("%s %s: %s%s", _stamp(self._wall()), self._title, text, facts_text(self._facts))


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

    def text(self, unit: str, now: float, wall: float, is_last: bool = False) -> str:
        """Returns what is done, how fast, and when it ends.

        Args:
            unit: The name of the units.
            now: The time on the clock that counts the work.
            wall: The time of day, in seconds since the epoch.
            is_last: Whether the work has ended, so that the time that it took stands in place of the time left.
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
        return text if left is None else f"{text}, {duration_text(left)} left, until {_moment(wall + left, wall)}"


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


def _stamp(wall: float) -> str:
    return f"{datetime.fromtimestamp(wall):%Y-%m-%d %H:%M:%S}"


def _moment(wall: float, now: float) -> str:
    """Returns the time of day of a moment, with its date if that is not today's."""
    moment, today = datetime.fromtimestamp(wall), datetime.fromtimestamp(now)
    return f"{moment:%H:%M:%S}" if moment.date() == today.date() else f"{moment:%Y-%m-%d %H:%M}"


def has_terminal() -> bool:
    """Returns whether standard error is a terminal that can show a bar."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


class ConsoleHandler(logging.StreamHandler[Any]):
    """Writes log messages to standard error, above the bar if there is one, which the lines of progress repeat."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a message, unless a bar shows the same."""
        if record.name == __name__ and has_terminal():
            return
        self.stream = sys.stderr  # which is another object while a bar is shown
        super().emit(record)


class _Bar:
    """A bar on standard error.

    Args:
        title: What it shows.
        total: The number at which it is full; None if that is not known.
        leaves: Whether it goes once it is closed.
    """

    def __init__(self, title: str, total: int | None, leaves: bool) -> None:
        from rich import progress
        from rich.console import Console

        columns = (
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("left"),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[facts]}", markup=False),
        )
        self._bars = progress.Progress(*columns, console=Console(stderr=True), transient=leaves)
        self._task = self._bars.add_task(title, total=total, facts="")
        self._bars.start()

    def update(self, done: int, facts: Mapping[str, float]) -> None:
        """Shows how much is done."""
        self._bars.update(self._task, completed=done, facts=facts_text(facts).removeprefix("; "))

    def close(self, done: int, facts: Mapping[str, float]) -> None:
        """Shows how much is done at the end."""
        self.update(done, facts)
        self._bars.stop()
