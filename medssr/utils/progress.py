"""Progress of long work: a bar where standard error is a terminal, elsewhere lines with a timestamp in the log.

The log file of a run has the lines in both cases.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

from medssr.utils.meter import Meter, duration_text, facts_text, time_stamp
from medssr.utils.processes import is_main_process
from medssr.utils.step_plan import StepPlan

log = logging.getLogger(__name__)
# Of what no bar shows, so that a terminal has it as well.
_preparing_log = log.getChild("preparing")

# Seconds without a line after which there is one, whether or not anything was done.
_LINE_EVERY_S = 30.0
# A tenth that is reached sooner after the last line gets none, so that short work does not fill the log.
_SHORTEST_GAP_S = 2.0
# A bar changes no more often, since a change takes longer than some units.
_BAR_EVERY_S = 0.1

_is_shown: ContextVar[bool] = ContextVar("is_progress_shown", default=False)
_step_number: ContextVar[str] = ContextVar("step_number", default="")
_step_plan: ContextVar[StepPlan | None] = ContextVar("step_plan", default=None)


@contextmanager
def progress_shown(is_shown: bool) -> Iterator[None]:
    """Shows the progress of the work in the block, or does not; outside such a block it is not shown."""
    token = _is_shown.set(is_shown)
    try:
        yield
    finally:
        _is_shown.reset(token)


@contextmanager
def next_step(plan: StepPlan, model: str = "") -> Iterator[None]:
    """Runs the block as the next step of a pipeline: its progress tells its number, and when the pipeline ends.

    Args:
        plan: All steps of the pipeline.
        model: The model that the step evaluates, which stands behind its number.
    """
    with plan.next() as number:
        tokens = _step_number.set(f"[{number} {model}".rstrip() + "] "), _step_plan.set(plan)
        try:
            yield
        finally:
            _step_number.reset(tokens[0])
            _step_plan.reset(tokens[1])


class Preparing:
    """Tells every 30 seconds that a step is still being prepared, until its first progress that is not minor opens.

    Preparing is to import torch, to load a model, to start vLLM. While minor progress is open, that has the lines. As
    with `Progress`, the main process tells, and only where progress is shown.

    Args:
        what: The step.
        clock: Returns seconds since any moment.
        wall: Returns seconds since the epoch.
    """

    def __init__(
        self, what: str, *, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._title = _step_number.get() + what
        self._clock, self._wall = clock, wall
        self._start_s = self._last_line_s = clock()
        self._num_minor = 0  # open ones
        self._is_over = threading.Event()
        self._lock = threading.Lock()

    def beat(self) -> float:
        """Logs a line if there was none for 30 seconds; returns the seconds until the next may be due."""
        with self._lock:
            now = self._clock()
            if self._num_minor:
                self._last_line_s = now
            elif now - self._last_line_s >= _LINE_EVERY_S and not self._is_over.is_set():
                self._last_line_s = now
                elapsed = duration_text(now - self._start_s)
                _preparing_log.info("%s %s: still preparing after %s", time_stamp(self._wall()), self._title, elapsed)
            return self._last_line_s + _LINE_EVERY_S - now

    def note_opened(self, is_minor: bool) -> None:
        """Says that progress opens: minor progress interrupts the preparing, other progress ends it."""
        with self._lock:
            self._num_minor += is_minor
            if not is_minor:
                self._is_over.set()

    def note_minor_closed(self) -> None:
        """Says that minor progress closes."""
        with self._lock:
            self._num_minor -= 1
            self._last_line_s = self._clock()

    def __enter__(self) -> Self:
        if _is_shown.get() and is_main_process():
            _start_beating(self.beat, self._is_over)
        self._token = _preparing.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        _preparing.reset(self._token)


_preparing: ContextVar[Preparing | None] = ContextVar("preparing", default=None)


def _start_beating(beat: Callable[[], float], is_over: threading.Event) -> None:
    """Calls `beat` in a thread, each time after the seconds that it returned, until it is over."""

    def run() -> None:
        while not is_over.wait(beat()):
            pass

    threading.Thread(target=run, name="progress", daemon=True).start()


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
        self._title = _step_number.get() + what
        self._plan = _step_plan.get()
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
            self._note_work()
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
        self._note_work()
        if self._is_open:
            if has_terminal():
                self._bar = _Bar(self._title, self._meter.total, leaves=self._is_minor)
            if (preparing := _preparing.get()) is not None:
                preparing.note_opened(self._is_minor)
            self._log_line()
            _start_beating(self.beat, self._is_left)
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
            if self._is_open and self._is_minor and (preparing := _preparing.get()) is not None:
                preparing.note_minor_closed()
            self._is_open = False

    def _note_work(self) -> None:
        """Says to the pipeline that this step has work to do."""
        if self._plan is not None and not self._is_minor:
            self._plan.note_work(self._meter.share_of_this_process())

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
        left = self._meter.seconds_left(now)
        behind = None
        if self._plan is not None and left is not None and not self._is_minor:
            behind = self._plan.seconds_behind(left)
        text = self._meter.text(self._unit, now, self._wall(), is_last, behind)
        log.info("%s %s: %s%s", time_stamp(self._wall()), self._title, text, facts_text(self._facts))


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
