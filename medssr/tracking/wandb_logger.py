"""Weights & Biases with one row a step, however often the run was interrupted, and no training that it can end."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import _DummyExperiment, rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from medssr.errors import first_line
from medssr.tracking.axes import AXES, STEP, Progress
from medssr.tracking.lineage import Reference

log = logging.getLogger(__name__)

# Offline, `wandb sync` sends what is left; training that is done does not wait for a network that is away.
_INIT_TIMEOUT_S = 30.0
_FINISH_TIMEOUT_S = 120.0
_LEAST_ROOM = 64 * 2**10  # bytes; a block of W&B's file has 32 KiB
_LONGEST_REASON = 200  # characters
# The last value of a metric is its summary; these are sorted by another one too.
_SUMMARIES = {
    "train/reward": ("last", "max", "mean"),
    "train/true_accuracy": ("last", "max"),
    "val/probe/accuracy": ("last", "max"),
}
_unreachable: list[Exception] = []  # why this process keeps its runs on disk


class WandbMetrics(WandbLogger):
    """A WandbLogger whose steps are those of training, which logs no step twice, and whose failure ends no training.

    A resumed run repeats the steps after its checkpoint. Online, W&B itself knows which it has. Without network each
    start writes a file of its own, `wandb sync` joins them, and a killed process leaves most of its rows unwritten: so
    the files are read, and `catch_up` fills the gap from `metrics.csv`.

    A run that cannot be opened online is kept on disk. One that fails altogether is said once and given up: the next
    start of the same command takes what it lacks from `metrics.csv`.

    Args:
        save_dir: Folder of the run.
        offline: Whether to keep the run on disk only.
        arguments: Of `wandb.init`.
    """

    def __init__(self, save_dir: str, offline: bool = False, **arguments: Any) -> None:
        super().__init__(save_dir=save_dir, offline=offline, **arguments)
        self.is_lost = False
        self._is_disk_full = False
        self._directory = Path(save_dir)
        self._earlier_files = offline_files(self._directory)  # before this start has its own
        self._num_in_files: int | None = None  # not read yet
        self._progress = Progress()

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run; once it failed, one that takes every call and does nothing."""
        if self.is_lost:
            return _DummyExperiment()
        if self._experiment is None:
            self._experiment = self._open()
        return self._experiment

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Adds plain values to the run's configuration."""
        self._try(lambda run: run.config.update(params, allow_val_change=True))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs the metrics of a step, unless the run has them from before it was interrupted.

        Args:
            metrics: By name.
            step: Of training; None for what belongs to no step.
        """
        if step is None:
            self._try(lambda run: run.log(dict(metrics)))
            return
        self._progress.add(step, metrics)
        row = {**metrics, **self._progress.axes(step)}

        def write(run: Any) -> None:
            if self._num_in_files is None:
                self._num_in_files = num_logged_steps(self._earlier_files)
            # The experiment's step is the next that W&B does not have, or that of the row which is being filled.
            if step >= max(self._num_in_files, run.step):
                run.log(row, step=step)

        self._try(write)
        self._watch_disk()

    def catch_up(self, rows: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        """Logs those of the rows (step, metrics) that the run does not have."""
        for step, metrics in rows:
            self.log_metrics(metrics, step)

    @rank_zero_only
    def summarize(self, values: Mapping[str, Any]) -> None:
        """Puts values into the run's summary, by which W&B's tables sort."""
        self._try(lambda run: run.summary.update(dict(values)))

    @rank_zero_only
    def link(self, inputs: Sequence[Reference], outputs: Sequence[Reference]) -> None:
        """Logs what the run has read and made as W&B artifacts; the same thing is the same artifact in every run."""

        def write(run: Any) -> None:
            for reference in inputs:
                use = reference.as_wandb()
                # Offline, `use_artifact` refuses; W&B syncs what is logged in this way as used by the run.
                if run.offline:
                    run._log_artifact(use, is_user_created=True, use_after_commit=True)
                else:
                    run.use_artifact(use)
            for reference in outputs:
                run.log_artifact(reference.as_wandb())

        self._try(write)

    @rank_zero_only
    def keep_files(self, files: Mapping[str, str]) -> None:
        """Writes text files into the run's folder, by name."""

        def write(run: Any) -> None:
            for name, text in files.items():
                (Path(run.dir) / name).write_text(text, encoding="utf-8")

        self._try(write)

    @rank_zero_only
    def close(self) -> None:
        """Ends the run: waits until all is written, or sent as far as it can be."""
        if self._experiment is not None:
            self._try(lambda run: run.finish())

    def _watch_disk(self) -> None:
        """Says once that the disk is full: W&B does not, and loses what it is given from then on."""
        if self.is_lost or self._is_disk_full or not self._directory.is_dir():
            return
        disk = os.statvfs(self._directory)
        self._is_disk_full = disk.f_bavail * disk.f_frsize < _LEAST_ROOM
        if self._is_disk_full:
            log.warning(
                "%s: the disk is full, so that Weights & Biases may lose rows from here on. The same command, started "
                "again when there is room, takes what is missing from metrics.csv",
                self._directory,
            )

    def _open(self) -> Any:
        import wandb

        if self._offline:
            os.environ["WANDB_MODE"] = "offline"  # as Lightning's logger does: W&B reads it once in a process
        settings = wandb.Settings(init_timeout=_INIT_TIMEOUT_S, finish_timeout=_FINISH_TIMEOUT_S)
        given = {name: value for name, value in self._wandb_init.items() if name != "anonymous"}
        arguments = given | {"settings": settings, "reinit": "create_new"}
        run = None
        if not self._offline and not _unreachable:
            try:
                run = wandb.init(**arguments)
            except wandb.Error as error:
                log.warning(
                    "Weights & Biases cannot be reached (%s): runs are kept on disk, and docs/tracking.md has the "
                    "command that sends them later",
                    first_line(error)[:_LONGEST_REASON],
                )
                _unreachable.append(error)
                _end_service()  # which holds the run's id
        if run is None:
            run = wandb.init(**arguments, mode="offline")
        for axis in AXES:
            run.define_metric(axis)
        run.define_metric("*", step_metric=STEP)
        for metric, kinds in _SUMMARIES.items():
            run.define_metric(metric, step_metric=STEP, summary=",".join(kinds))
        return run

    def _try(self, action: Callable[[Any], Any]) -> None:
        """Does something with the run. Whatever fails there is said once and ends no training of days."""
        if self.is_lost:
            return
        try:
            action(self.experiment)
        except Exception as error:
            self.is_lost = True
            _warn_of_loss(f"{type(error).__name__}: {first_line(error)[:_LONGEST_REASON]}")
            _end_service()


@cache  # once, however many runs a command has
def _warn_of_loss(reason: str) -> None:
    log.warning(
        "Weights & Biases failed (%s): nothing more of this run is logged there. metrics.csv has everything, and the "
        "same command, started again, logs what is missing",
        reason,
    )


def _end_service() -> None:
    """Ends W&B's service, so that the next run gets a new one."""
    import wandb

    with suppress(Exception):  # it may be dead already, and says so again
        wandb.teardown()


_HEADER_BYTES = 7


def offline_files(directory: Path) -> list[Path]:
    """Returns the offline files of a run's folder that hold anything, the oldest first: folders are named by time."""
    files = sorted(directory.glob("wandb/offline-run-*/*.wandb"))
    return [file for file in files if file.stat().st_size > _HEADER_BYTES]  # of a killed process, often less


def read_records(file: Path) -> Iterator[dict[str, Any]]:
    """Yields the records of an offline file; of one that is cut short, those before the cut, which W&B syncs too.

    Raises:
        CalledProcessError: When wandb cannot read it.
    """
    reader = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    lines = subprocess.run(reader, capture_output=True, text=True, check=True).stdout.splitlines()
    yield from map(json.loads, lines)


def num_logged_steps(files: Sequence[Path]) -> int:
    """Returns the number of steps that the offline files of a run hold, the oldest first.

    Each start begins with what the files before it lack: so the newest that holds a row holds the last.
    """
    for file in reversed(files):
        rows = [record["history"] for record in read_records(file) if record["type"] == "history"]
        if rows:
            return 1 + max(int(row["item"]["_step"]) for row in rows)
    return 0
