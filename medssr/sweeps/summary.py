"""Summarises a sweep: a table of its jobs, a report of their results, and the exit code."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from medssr.errors import USER_FAULT, InputError
from medssr.sweeps.jobs import Job, JobState
from medssr.utils.console import table_console
from medssr.utils.locks import hold_lock
from medssr.utils.stopping import Stopped

if TYPE_CHECKING:
    from optuna import Study
    from rich.table import Table

log = logging.getLogger(__name__)

# The exit code of a sweep with a job that is not done.
NOT_ALL_DONE = 3


@contextmanager
def summarised(folder: Path, jobs: Sequence[Job]) -> Iterator[None]:
    """Prints the table of the jobs in the end, and makes a report of their results unless a signal has ended them.

    Args:
        folder: Of the sweep.
        jobs: Its jobs, also those that are added in the block.

    Raises:
        SystemExit: With code 3, when a job is not done; with 2 for a user's fault in the block.
    """
    try:
        yield
    except InputError as error:
        log.error("%s", error)
        raise SystemExit(USER_FAULT) from None
    except Stopped:
        _print(folder, jobs)
        raise
    _print(folder, jobs)
    for job in jobs:
        if job.record is not None and job.record.error is not None:
            log.error("%s %s: %s", job.state, job.folder, job.record.error)
    _write_report(folder, jobs)
    num_lacking = sum(job.state is not JobState.done for job in jobs)
    if num_lacking:
        log.error("%d of %d jobs are not done; the same command goes on with them", num_lacking, len(jobs))
        raise SystemExit(NOT_ALL_DONE)


def log_best(study: Study) -> None:
    """Logs the best trial of a search so far."""
    from optuna.trial import TrialState

    complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state is TrialState.COMPLETE]
    if complete:
        best = study.best_trial
        settings = " ".join(f"{key}={value}" for key, value in best.params.items())
        log.info("best of %d trials: %s came to %.4f", len(complete), settings, best.value)


def job_value(job: Job) -> float | None:
    """Returns the value of a job; None where it is not done.

    Raises:
        InputError: When it is done and returned no number.
    """
    record = job.record
    if record is None or record.state is not JobState.done:
        return None
    if record.value is None:
        raise InputError(f"{job.name}: the command returned no number to search by; medssr-train needs a probe for it.")
    return record.value


def jobs_table(jobs: Sequence[Job]) -> Table:
    """Returns a row for each job: its name, which is its folder, its state, and how long it took."""
    from rich.table import Table

    table = Table()
    table.add_column("job", overflow="fold")
    table.add_column("state")
    table.add_column("seconds", justify="right")
    for job in jobs:
        record = job.record
        has_time = record is not None and record.seconds is not None and job.state is not JobState.killed
        table.add_row(job.name, job.state, f"{record.seconds:.0f}" if record and has_time else "")
    return table


def _print(folder: Path, jobs: Sequence[Job]) -> None:
    table_console().print(jobs_table(jobs))
    log.info("each job in a folder of its name in %s", folder)


def _write_report(folder: Path, jobs: Sequence[Job]) -> None:
    """Writes `report/` into the sweep's folder when its jobs have results to compare."""
    from medssr.evaluation.results_io import RESULTS_FILE

    finished = [job.folder for job in jobs if job.state is JobState.done and (job.folder / RESULTS_FILE).is_file()]
    if not finished:
        return
    from medssr.reports.comparison import compare_groups
    from medssr.reports.pages import write_report
    from medssr.reports.studies import in_job_order, read_runs

    comparison = compare_groups(read_runs(in_job_order(finished)))
    with hold_lock(folder / ".report.lock", f"the report of {folder}"):  # the same sweep may have been started twice
        page = write_report(comparison, folder / "report")
    log.info("report of %d runs: %s", len(finished), page)
