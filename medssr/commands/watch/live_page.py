"""The report of runs under way: made anew where their files have changed, and kept in memory with its figures."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory

from medssr.commands.watch.runs_so_far import read_run_so_far
from medssr.commands.watch.states import RunState, State, StateReader, run_folders
from medssr.errors import InputError
from medssr.reports.comparison import compare_groups
from medssr.reports.pages import LiveView, write_report
from medssr.reports.runs import LeftOut, Run
from medssr.reports.settings import name_runs
from medssr.reports.studies import in_job_order

PAGE = "index.html"
# Seconds between looks at the files.
_LOOK_EVERY_S = 1.0
# The page is made at most every few seconds; that, and looks at the files of many runs, each take at most this part of
# the time of one processor.
_MAKE_EVERY_S, _MAX_LOAD = 5.0, 0.2


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the runs are: HTML, and the version of the page that has their results."""

    version: int
    progress: str


class LivePage:
    """The page of the runs at or below a folder; threads may ask for it at once.

    Args:
        folder: The folder.
        clock: Returns seconds since any moment.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()
        self._reader = StateReader()
        self._files: dict[str, bytes] = {}
        self._names: dict[Path, str] = {}
        self._states: list[RunState] = []
        self._stamps: object = None  # of the files that the page was made of
        # Begins with the time, so that a page which an earlier server has sent is of another version.
        self._version = time.time_ns() // 10**6
        self._problem: str | None = None
        self._next_look_s = self._next_making_s = float("-inf")

    def progress(self) -> Progress:
        """Returns how far the runs are now; makes the page anew first where files have changed."""
        with self._lock:
            self._look()
            return Progress(self._version, self._progress_html())

    def file(self, name: str) -> bytes | None:
        """Returns a file of the page as it was made last; None for any other file."""
        with self._lock:
            if name == PAGE:
                self._look()
            return self._files.get(name)

    def _look(self) -> None:
        now = self._clock()
        if now < self._next_look_s:
            return
        self._next_look_s = now + _LOOK_EVERY_S
        try:
            self._states = [self._reader.read(folder) for folder in in_job_order(run_folders(self._folder))]
            stamps = [
                (state.folder, state.state is State.finished, *map(_stamp, state.files)) for state in self._states
            ]
            self._next_look_s = now + max(_LOOK_EVERY_S, (self._clock() - now) / _MAX_LOAD)
            if stamps != self._stamps and now >= self._next_making_s:
                self._make()
                self._stamps = stamps
                seconds = self._clock() - now
                self._next_making_s = self._clock() + max(_MAKE_EVERY_S, seconds / _MAX_LOAD)
            self._problem = None
        except (InputError, OSError) as error:  # a file is being replaced, or is broken: the next look shows which
            self._problem = f"The files cannot be read now: {error}"
            self._next_making_s = now + _MAKE_EVERY_S
            if not self._files:
                self._write(None, [])

    def _make(self) -> None:
        """Makes the page of the runs as they are."""
        runs: list[Run] = []
        left_out: list[LeftOut] = []
        for state in self._states:
            try:
                runs.append(read_run_so_far(state))
            except (InputError, OSError, ValueError) as error:  # the others are shown
                left_out.append(LeftOut(str(state.folder), None, str(error)))
        runs = name_runs(runs)
        self._names = {run.folder: run.name for run in runs}
        self._write(runs, left_out)

    def _write(self, runs: Sequence[Run] | None, left_out: Sequence[LeftOut]) -> None:
        comparison = compare_groups(runs) if runs else None
        with TemporaryDirectory(prefix="medssr-watch-") as folder:
            view = LiveView(self._progress_html(), self._version + 1)
            write_report(comparison, folder, left_out, view)
            self._files = {file.name: file.read_bytes() for file in Path(folder).iterdir()}
        self._version += 1

    def _progress_html(self) -> str:
        from jinja2 import Environment, StrictUndefined

        environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        template = environment.from_string(
            resources.files("medssr.reports").joinpath("progress.html").read_text("utf-8")
        )
        counts = Counter(str(state.state) for state in self._states)
        return template.render(
            states=[(self._names.get(state.folder, state.folder.name), state) for state in self._states],
            counts={str(state): counts[state] for state in State if counts[state]},
            folder=str(self._folder),
            problem=self._problem,
            time=time.strftime("%H:%M:%S"),
        )


def _stamp(file: Path) -> tuple[int, int] | None:
    """Returns size and time of change of a file; None where there is none."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns
