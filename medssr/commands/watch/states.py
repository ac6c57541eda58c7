"""How far a run is, from the files in its folder: its log, the record of its job, the artefacts that the log names."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from medssr.artifacts import lock_file
from medssr.evaluation.results_io import RESULTS_FILE
from medssr.sweeps.jobs import JOB_FILE, JobState, read_job
from medssr.utils.locks import is_alive
from medssr.utils.outputs import MANIFEST_FILE

HYDRA = ".hydra"
# Lines that `medssr.artifacts` and `medssr.utils.progress` write into the log of a run.
_STEP = re.compile(r"^(\w+): (?:started in|resumed in|already made,) (/.+)$")
_PROGRESS = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (.+?): (.+)$")
_PERCENT = re.compile(r"\((\d+)%\)")
# A run that writes a line every 30 seconds and has written none for so many has ended, or waits.
_QUIET_S = 120.0
_NUM_LOG_LINES = 12
_READERS_OF_RUNS = ("compare", "dashboard")  # commands that have a run folder, but do nothing that is watched
_LONGEST_LOG = 4_000_000  # bytes that are read of a log, from its end
# Files of an artefact that the page is made of.
_SHOWN_FILES = (MANIFEST_FILE, "metrics.csv", RESULTS_FILE)


class State(StrEnum):
    """How far a run is."""

    running = "running"
    waiting = "no sign of life"
    stopped = "stopped"
    failed = "failed"
    finished = "finished"


@dataclass(frozen=True, slots=True)
class RunState:
    """A run as its files show it now.

    Attributes:
        folder: Its folder.
        command: The name of its command.
        state: How far it is.
        steps: The steps that it has begun, as (name of the step, folder of its artefact), in order.
        part: What it works on.
        progress: How much of that is done, in words.
        percent: The same in percent; None where that is not known.
        error: Why it failed.
        log_lines: The end of its log.
        changed: When its log changed, in seconds since the epoch.
    """

    folder: Path
    command: str
    state: State
    steps: tuple[tuple[str, Path], ...] = ()
    part: str = ""
    progress: str = ""
    percent: int | None = None
    error: str | None = None
    log_lines: tuple[str, ...] = ()
    changed: float = 0.0

    @property
    def files(self) -> Iterator[Path]:
        """The files that the page of the run is made of."""
        yield self.folder / HYDRA / "config.yaml"
        yield self.folder / RESULTS_FILE
        for _, directory in self.steps:
            yield from (directory / name for name in _SHOWN_FILES)


def run_folders(folder: Path) -> list[Path]:
    """Returns the folders of runs at or below a folder; those within the folder of a run are none."""
    folders = []
    for directory, names, files in os.walk(folder):
        if HYDRA in names:
            if not any(f"{command}.log" in files for command in _READERS_OF_RUNS):
                folders.append(Path(directory))
            names.clear()
        names.sort()
    return folders


@dataclass
class StateReader:
    """Reads the states of runs; what has not changed since is not read again."""

    _logs: dict[Path, tuple[tuple[int, int], _Log]] = field(default_factory=dict)

    def read(self, folder: Path, now: float | None = None) -> RunState:
        """Returns the state of a run.

        Args:
            folder: The folder of the run.
            now: Seconds since the epoch.
        """
        files = sorted(folder.glob("*.log"), key=lambda file: file.stat().st_mtime)
        log = self._log(files[-1]) if files else _Log()
        changed = files[-1].stat().st_mtime if files else (folder / HYDRA).stat().st_mtime
        state, error = _state(folder, log, changed, time.time() if now is None else now)
        return RunState(
            folder,
            files[-1].stem if files else "",
            state,
            log.steps,
            log.part,
            log.progress,
            log.percent,
            error,
            log.lines,
            changed,
        )

    def _log(self, file: Path) -> _Log:
        status = file.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        kept = self._logs.get(file)
        if kept is None or kept[0] != stamp:
            self._logs[file] = kept = (stamp, _read_log(file))
        return kept[1]


@dataclass(frozen=True, slots=True)
class _Log:
    """What the log of a run says."""

    steps: tuple[tuple[str, Path], ...] = ()
    part: str = ""
    progress: str = ""
    percent: int | None = None
    lines: tuple[str, ...] = ()


def _read_log(file: Path) -> _Log:
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - _LONGEST_LOG))
        lines = stream.read().decode("utf-8", errors="replace").splitlines()
    steps: list[tuple[str, Path]] = []
    part = progress = ""
    for line in lines:
        if (match := _STEP.match(line)) is not None:
            step = (match[1], Path(match[2]))
            if step in steps:  # the run was started again, and goes through its steps from the first one
                steps = []
            steps.append(step)
            part, progress = match[1], ""
        elif (match := _PROGRESS.match(line)) is not None:
            part, progress = match[1], match[2]
    percent = _PERCENT.search(progress)
    return _Log(tuple(steps), part, progress, int(percent[1]) if percent else None, tuple(lines[-_NUM_LOG_LINES:]))


def _state(folder: Path, log: _Log, changed: float, now: float) -> tuple[State, str | None]:
    """Returns how far a run is, and why it failed."""
    record = read_job(folder) if (folder / JOB_FILE).is_file() else None
    if record is not None and record.state is JobState.failed:
        return State.failed, record.error
    if _has_ended_well(folder, log) if record is None else record.state is JobState.done:
        return State.finished, None
    if record is not None:
        is_dead = record.state is not JobState.running or not record.is_alive
    else:
        is_dead = bool(log.steps) and _holder_is_alive(log.steps[-1][1]) is False
    if is_dead:
        return State.stopped, None
    return (State.waiting if now - changed >= _QUIET_S else State.running), None


def _has_ended_well(folder: Path, log: _Log) -> bool:
    """Returns whether a run without the record of a job is finished.

    A pipeline writes its results at its end; another command has one step, and is finished with it.
    """
    if (folder / RESULTS_FILE).is_file():
        return True
    is_pipeline = any(folder.glob("pipeline.log"))
    return not is_pipeline and bool(log.steps) and (log.steps[-1][1] / MANIFEST_FILE).is_file()


def _holder_is_alive(directory: Path) -> bool | None:
    """Returns whether the process that makes an artefact is there; None where none says that it does."""
    lock = lock_file(directory)
    try:
        holder: Any = json.loads(lock.with_name(f"{lock.name}.holder").read_text(encoding="utf-8"))
        return is_alive(str(holder["host"]), int(holder["pid"]))
    except (OSError, ValueError, KeyError, TypeError):  # of none, or being written
        return None
