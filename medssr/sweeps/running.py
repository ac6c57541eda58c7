"""The jobs of a sweep: plans them, starts those that are not done, and watches them."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from medssr.config.composition import typed
from medssr.errors import InputError
from medssr.sweeps.jobs import Job, JobRecord, JobState, job_fingerprint, new_record, write_job
from medssr.utils.disk_faults import disk_fault
from medssr.utils.stopping import catch_signals, release

if TYPE_CHECKING:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.plugins.launcher import Launcher
    from hydra.types import HydraContext
    from omegaconf import DictConfig

log = logging.getLogger(__name__)

# How often a job is started whose process dies: once more, since the others of its pool die with it.
MAX_STARTS = 2
# Seconds for jobs in other processes to save what they have, once a signal came.
PATIENCE_S = 30.0
# Seconds between looks at the records of jobs whose output is elsewhere.
WATCH_S = 2.0

# The configurations of the jobs that a sweep runs in this process, by their folders.
_planned_here: ContextVar[Mapping[Path, Any]] = ContextVar("_planned_here", default=MappingProxyType({}))


def combinations(
    parser: OverridesParser,
    params: Sequence[str],
    variants: Mapping[str, Sequence[str]] | None,
    arguments: Sequence[str],
) -> list[list[str]]:
    """Returns the overrides of each job of a sweep: all combinations of the values, once with each variant.

    A later override of a key replaces an earlier one: the command line those of a variant, and these the sweep's.

    Args:
        parser: Hydra's.
        params: Overrides of the sweep's configuration; several values are swept over.
        variants: Sets of overrides by name; None for no variants.
        arguments: Overrides of the command line.
    """
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    jobs: list[list[str]] = []
    for variant in variants.values() if variants else [[]]:
        overrides = parser.parse_overrides([*params, *variant, *arguments])
        (batch,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
        jobs += [list(job) for job in batch]
    return jobs


def plan_jobs(config: DictConfig, context: HydraContext, batch: Sequence[Sequence[str]]) -> list[Job]:
    """Returns the jobs of a batch of overrides; writes down the failure of those whose configuration is refused.

    Raises:
        Exception: Hydra's, where a job cannot be composed; nothing has run then.
    """
    composed = [context.config_loader.load_sweep_config(config, list(overrides)) for overrides in batch]
    jobs: dict[Path, Job] = {}
    for overrides, job_config in zip(batch, composed, strict=True):
        job = _planned(tuple(overrides), job_config)
        if job.folder in jobs:
            log.warning("duplicate job %s: the overrides differ only in settings that do not affect results", job.name)
        jobs[job.folder] = job
    return list(jobs.values())


def _planned(overrides: tuple[str, ...], config: DictConfig) -> Job:
    job, problem = configured_job(overrides, config)
    if problem is not None:
        job.folder.mkdir(parents=True, exist_ok=True)
        write_job(job.folder, new_record(JobState.failed, "", error=problem, seconds=0.0))
        log.error("job failed: %s\n%s", job.folder, problem)
    return job


def configured_job(overrides: tuple[str, ...], config: DictConfig) -> tuple[Job, str | None]:
    """Returns a job, and why its configuration is refused; writes nothing."""
    from omegaconf import open_dict, read_write

    folder = Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir
    with read_write(config), open_dict(config):
        del config["hydra"]
    try:
        made = typed(config)
    except InputError as error:
        return Job(overrides, folder, None, is_forced=False), str(error)
    return Job(overrides, folder, job_fingerprint(made), made.force or made.verify, made), None


def config_of_job(folder: Path, config: DictConfig) -> Any:
    """Returns the typed configuration of the job in a folder.

    A job that runs in the process of its sweep has the one that was planned: checking it anew takes a tenth of the
    time of a job whose steps are made.

    Args:
        folder: Where the job keeps its results.
        config: As Hydra composed it for the job.
    """
    planned = _planned_here.get().get(folder)
    return typed(config) if planned is None else planned


def run_jobs(launcher: Launcher, jobs: Sequence[Job]) -> None:
    """Runs the jobs that are not finished.

    A job whose process dies is started once more; if it dies again it has failed. Any other error of a launcher is
    logged and ends no job that it has started elsewhere: the records of the jobs show how far they are.
    """
    left = [job for job in jobs if job.fingerprint is not None and not job.is_finished]
    starts: Counter[str] = Counter()
    while left:
        try:
            with _signals_passed_on(launcher, left), _failures_logged(launcher, left), _planned_in_this_process(left):
                launcher.launch([job.overrides for job in left], initial_job_idx=starts.total())
            break
        except BrokenProcessPool:
            left = _after_a_death(left, starts)
        except Exception as error:
            if disk_fault(error) is not None:  # the folder of no job can be written
                raise
            log.exception("the launcher gave up; jobs that it has started may still run")
            break


@contextmanager
def _planned_in_this_process(jobs: Sequence[Job]) -> Iterator[None]:
    """Keeps the configurations of jobs for those that the launcher runs in this process."""
    before = _planned_here.set({job.folder: job.config for job in jobs})
    try:
        yield
    finally:
        _planned_here.reset(before)


def _after_a_death(jobs: Sequence[Job], starts: Counter[str]) -> list[Job]:
    """Returns the jobs to start again after a process of a pool has died, and with it the pool."""
    for job in jobs:
        record = job.record
        if record is None or record.state is not JobState.running:
            continue
        starts[job.name] += 1
        if starts[job.name] >= MAX_STARTS:
            error = "its process was killed (by hand, or for want of memory)"
            write_job(job.folder, new_record(JobState.failed, record.fingerprint, error=error))
            log.error("job failed: %s\n%s", job.folder, error)
        else:
            log.warning("the process of a job was killed; it is started once more: %s", job.folder)
    left = [job for job in jobs if not job.is_finished and job.state is not JobState.failed]
    return [job for job in left if starts[job.name] < MAX_STARTS]


@contextmanager
def _signals_passed_on(launcher: Launcher, jobs: Sequence[Job]) -> Iterator[None]:
    """Makes a signal end the jobs in other processes of this machine and wait for them before it ends this one.

    Hydra's own launcher runs jobs in this process, where they deal with signals themselves.
    """
    from hydra._internal.core_plugins.basic_launcher import BasicLauncher

    if isinstance(launcher, BasicLauncher):
        yield
        return

    def end(signum: int) -> None:
        ending = _running_here(jobs)
        log.warning("ended by %s; %d jobs save what they have", signal.Signals(signum).name, len(ending))
        for record in ending:
            os.kill(record.pid, signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE_S
        # Not for jobs that a free worker begins meanwhile: they have nothing to save.
        while time.monotonic() < deadline and not set(ending).isdisjoint(_running_here(jobs)):
            time.sleep(0.1)

    with catch_signals(end):
        try:
            yield
        except Exception:
            release()  # after a signal, whatever a launcher raises comes of it
            raise


@contextmanager
def _failures_logged(launcher: Launcher, jobs: Sequence[Job]) -> Iterator[None]:
    """Logs failing jobs at once where a launcher (submitit) keeps their output from this console."""
    if "submitit" not in type(launcher).__module__:
        yield
        return
    begin, has_ended = time.time(), threading.Event()

    def watch() -> None:
        told: set[Path] = set()
        is_last = False
        while not is_last:
            is_last = has_ended.wait(WATCH_S)
            for job in (job for job in jobs if job.folder not in told):
                record = job.record
                if record is not None and record.state is JobState.failed and record.started >= begin:
                    told.add(job.folder)
                    log.error("job failed: %s\n%s", job.folder, record.error)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        has_ended.set()
        watcher.join()  # ends after one more look at the records


def _running_here(jobs: Sequence[Job]) -> list[JobRecord]:
    """Returns the records of the jobs that run in other processes of this machine."""
    return [record for job in jobs if job.state is JobState.running and (record := job.record) is not None]
