"""One job of a sweep: its record on disk, and a lock so that it runs once and in one process.

A job is no step (`medssr.artifacts`), and its record no manifest. A step makes files, is finished once its manifest is
there, and is what its inputs' content and its configuration say. A job makes no files of its own: it calls a command
whose steps do. Its record also says what a manifest, which is written last, cannot: that it runs, who killed it, why it
failed, and what it returned to a search. It may be wrong at no cost, since a job that starts for nothing finds its
steps made; so files count by size and time and not by content, and a damaged record is a job that was not started.
What both need they share: what decides a result, the hash of it, locks, and the reading and writing of records.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from medssr.artifacts import fingerprint_of, fingerprint_parts
from medssr.errors import InputError
from medssr.utils.disk_faults import disk_fault
from medssr.utils.files import read_record, write_json_atomically
from medssr.utils.locks import hold_lock, is_alive
from medssr.utils.processes import is_main_process
from medssr.utils.stopping import Stopped

log = logging.getLogger(__name__)

JOB_FILE = "job.json"


class JobState(StrEnum):
    """How far a job is; the record of a job whose process was killed says `running`, and no process holds its lock."""

    not_started = "not started"
    running = "running"
    killed = "killed"
    ended = "ended"  # by a signal
    failed = "failed"
    done = "done"


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What `job.json` in a job's folder says.

    Attributes:
        state: How far the job is.
        fingerprint: Of the configuration and the files that it ran with (`job_fingerprint`).
        host: Where its process runs or ran.
        pid: That process.
        started: When it was started the last time, in seconds since 1970.
        seconds: How long it ran since then; None while it runs.
        value: What it returned, for a search over settings; None where that is no number.
        error: Why it failed.
    """

    state: JobState
    fingerprint: str
    host: str
    pid: int
    started: float
    seconds: float | None = None
    value: float | None = None
    error: str | None = None

    @property
    def is_alive(self) -> bool:
        """Whether the process is there, as far as this machine can tell."""
        return is_alive(self.host, self.pid)


@dataclass(frozen=True, slots=True)
class Job:
    """One job of a sweep.

    Attributes:
        overrides: What makes it.
        folder: Where it keeps its record and its results.
        fingerprint: Of its configuration; None where that is refused.
        is_forced: Whether it runs although it is finished.
        config: Its typed configuration; None where that is refused, or nobody runs it from here.
    """

    overrides: tuple[str, ...]
    folder: Path
    fingerprint: str | None
    is_forced: bool
    config: Any = None

    @property
    def name(self) -> str:
        """The name of the job."""
        return self.folder.name

    @property
    def record(self) -> JobRecord | None:
        """The record of the job as it is now; None where it was not started with these settings and files."""
        record = read_job(self.folder)
        return record if record is None or self.fingerprint in (None, record.fingerprint) else None

    @property
    def state(self) -> JobState:
        """How far the job is."""
        record = self.record
        if record is None:
            return JobState.not_started
        return JobState.killed if record.state is JobState.running and not record.is_alive else record.state

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing to do."""
        return self.fingerprint is not None and not self.is_forced and self.state is JobState.done


def job_fingerprint(config: Any) -> str:
    """Returns a hash of what decides a job's result: its configuration, and size and time of the files it names.

    Not their content, as in the fingerprint of a step: a job that is started for nothing finds its steps made.

    Args:
        config: The typed configuration of the command, as it was given: a `run` stands for what it will bring.
    """
    values = asdict(config)
    run = values.get("run")
    parts = [*fingerprint_parts(values, file_stamp), None if run is None else file_stamp(Path(run))]
    return fingerprint_of(parts)


def file_stamp(path: Path) -> str:
    """Returns name, size and time of change of a file, or of all files below a folder."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return "\n".join(f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)


def read_job(folder: Path) -> JobRecord | None:
    """Returns the record of the job in a folder, None where it was never started or the record is damaged.

    A job that starts again for want of a record finds its steps made, so this costs seconds.
    """
    file = folder / JOB_FILE
    if not file.is_file():
        return None
    try:
        content = read_record(file, "The job starts again.", state=str, fingerprint=str, host=str, pid=int)
        return JobRecord(**content | {"state": JobState(content["state"])})
    except (InputError, TypeError, ValueError) as error:  # another form, or a state that there is not
        log.warning("%s", error if isinstance(error, InputError) else f"{file}: {error}. The job starts again.")
        return None


def write_job(folder: Path, record: JobRecord) -> None:
    """Writes the record of a job."""
    write_json_atomically(folder / JOB_FILE, asdict(record))


def new_record(state: JobState, fingerprint: str, **values: Any) -> JobRecord:
    """Returns a record of this process, started now."""
    return JobRecord(state, fingerprint, socket.gethostname(), os.getpid(), time.time(), **values)


def run_job(folder: Path, fingerprint: str, is_forced: bool, work: Callable[[], Any]) -> float | None:
    """Runs a job, unless it is finished, and returns its value; a failure is written down and returned as None.

    A second process with the same job waits until the first is done, and then finds it finished. Of several processes
    that make a job together (ranks of SLURM), the first keeps the record.

    Args:
        folder: The job's folder.
        fingerprint: Of its configuration.
        is_forced: Whether to run it although it is finished.
        work: The job; what it returns is its value where that is a number.

    Raises:
        Stopped: When a signal ends it.
    """
    if not is_main_process():
        value = work()
        return None if value is None else float(value)
    with hold_lock(folder / ".lock", f"the job {folder}"):
        job = Job((), folder, fingerprint, is_forced)
        if job.is_finished and job.record is not None:
            log.info("finished before: %s", folder)
            return job.record.value
        return _run_alone(folder, fingerprint, work)


def _run_alone(folder: Path, fingerprint: str, work: Callable[[], Any]) -> float | None:
    running, start = new_record(JobState.running, fingerprint), time.monotonic()

    def record(state: JobState, **values: Any) -> None:
        write_job(folder, replace(running, state=state, seconds=round(time.monotonic() - start, 1), **values))

    write_job(folder, running)
    try:
        value = work()
    except Stopped:
        record(JobState.ended)
        raise
    except InputError as error:
        record(JobState.failed, error=str(error))
        log.error("job failed: %s\n%s", folder, error)
        return None
    except Exception as error:  # the others of the sweep go on; the sweep ends with an exit code that says so
        record(JobState.failed, error=f"{type(error).__name__}: {error}")
        if (fault := disk_fault(error)) is None:
            log.exception("job failed: %s", folder)
        else:
            log.error("job failed: %s\n%s: make room and start the same command again", folder, fault)
        return None
    number = None if value is None else float(value)
    record(JobState.done, value=number)
    return number
