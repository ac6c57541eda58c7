"""Logs to Weights & Biases: one row a step however often a run is interrupted, and failures that end no training."""

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
from medssr.tracking.lineage import Reference
from medssr.tracking.wandb_limits import is_wandb_offline, within_limits
from medssr.utils.disk_faults import disk_fault

log = logging.getLogger(__name__)

# The x axes of curves.
STEP = "train/step"
TOKENS = "train/total_tokens"
HOURS = "time/hours"
AXES = (STEP, TOKENS, HOURS)
# The metrics that add up to a position on an axis, and how many of their units are one unit of the axis.
_SUMMANDS = {"train/num_tokens": (TOKENS, 1), "time/step": (HOURS, 3600), "time/probe": (HOURS, 3600)}

# A finished training does not wait for a network that is down: `wandb sync` sends the rest later.
_INIT_TIMEOUT_S = 30.0
_FINISH_TIMEOUT_S = 120.0
_MIN_DISK_SPACE = 64 * 2**10  # bytes; a block of W&B's file has 32 KiB
_LONGEST_REASON = 200  # characters
# The summary of a metric is its last value; of these metrics also another one.
_SUMMARIES = {
    "train/reward": ("last", "max", "mean"),
    "train/true_accuracy": ("last", "max"),
    "val/probe/accuracy": ("last", "max"),
}
_connection_errors: list[Exception] = []  # if any, this process keeps its runs on disk


class Progress:
    """Tokens and hours up to each step; metrics that are logged again are counted once."""

    def __init__(self) -> None:
        self._totals = {TOKENS: 0.0, HOURS: 0.0}
        self._by_step: dict[int, dict[str, float]] = {}

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Adds metrics of a step; a step that is logged again replaces its metrics and drops later steps."""
        if self._by_step and step < next(reversed(self._by_step)):
            for later in [number for number in self._by_step if number > step]:
                for name, value in self._by_step.pop(later).items():
                    self._count(name, -value)
        counted = self._by_step.setdefault(step, {})
        for name in _SUMMANDS.keys() & metrics.keys():
            self._count(name, metrics[name] - counted.get(name, 0.0))
            counted[name] = metrics[name]

    def axes(self, step: int) -> dict[str, float]:
        """Returns the position of the last step that was added on each axis.

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


class WandbMetrics(WandbLogger):
    """A WandbLogger whose steps are those of training, which logs no step twice, and whose failures end no training.

    A resumed run repeats the steps after its checkpoint. Online, W&B itself tells which steps it has. Offline, each
    start writes its own file, which `wandb sync` joins, and a killed process leaves most of its rows unwritten;
    therefore the files are read, and `catch_up` logs the missing rows from `metrics.csv`.

    A run that cannot be opened online is kept on disk. When a run fails altogether, one warning is logged and the run
    is given up; the next start of the same command logs the missing rows from `metrics.csv`.

    Args:
        save_dir: Folder of the run.
        offline: Whether to keep the run on disk only; the environment may ask for it too.
        sweep_id: The sweep of W&B's own that the run is a trial of; None for none.
        arguments: Of `wandb.init`.
    """

    def __init__(self, save_dir: str, offline: bool = False, sweep_id: str | None = None, **arguments: Any) -> None:
        super().__init__(save_dir=save_dir, offline=offline or is_wandb_offline(), **within_limits(arguments))
        self.is_lost = False
        self._is_disk_full = False
        self._directory = Path(save_dir)
        self._sweep_id = sweep_id
        self._earlier_files = offline_files(self._directory)  # before this start has its own
        self._num_in_files: int | None = None  # not read yet
        self._progress = Progress()

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run; after a failure a dummy that ignores every call."""
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
            step: The step of training; None for metrics that belong to no step.
        """
        if step is None:
            self._try(lambda run: run.log(dict(metrics)))
            return
        self._progress.add(step, metrics)
        row = {**metrics, **self._progress.axes(step)}

        def write(run: Any) -> None:
            if self._num_in_files is None:
                self._num_in_files = num_logged_steps(self._earlier_files)
            # `run.step` is the first step that W&B does not have, or that of the row which is being filled.
            if step >= max(self._num_in_files, run.step):
                run.log(row, step=step)

        self._try(write)
        self._watch_disk()

    def catch_up(self, rows: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        """Logs the rows (step, metrics) that the run does not have yet."""
        for step, metrics in rows:
            self.log_metrics(metrics, step)

    @rank_zero_only
    def summarize(self, values: Mapping[str, Any]) -> None:
        """Adds values to the run's summary, by which W&B's tables sort."""
        self._try(lambda run: run.summary.update(dict(values)))

    @rank_zero_only
    def link(self, inputs: Sequence[Reference], outputs: Sequence[Reference]) -> None:
        """Logs the inputs and outputs of the run as W&B artifacts; equal references are one artifact in every run."""

        def write(run: Any) -> None:
            for reference in inputs:
                artifact = reference.as_wandb()
                # `use_artifact` does not work offline; W&B syncs an artifact logged in this way as used by the run.
                if run.offline:
                    run._log_artifact(artifact, is_user_created=True, use_after_commit=True)
                else:
                    run.use_artifact(artifact)
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
        """Ends the run: waits until everything is written, or sent as far as possible."""
        if self._experiment is not None:
            self._try(lambda run: run.finish())

    def _watch_disk(self) -> None:
        """Warns once when the disk is full: W&B gives no warning and loses the rows that follow."""
        if self.is_lost or self._is_disk_full or not self._directory.is_dir():
            return
        disk = os.statvfs(self._directory)
        self._is_disk_full = disk.f_bavail * disk.f_frsize < _MIN_DISK_SPACE
        if self._is_disk_full:
            log.warning(
                "%s: the disk is full, so Weights & Biases may lose rows from now on. Free space and start the same "
                "command again: it logs the missing rows from metrics.csv",
                self._directory,
            )

    def _open(self) -> Any:
        import wandb

        if self._offline:
            os.environ["WANDB_MODE"] = "offline"  # as Lightning's logger does: W&B reads it once per process
        settings = wandb.Settings(init_timeout=_INIT_TIMEOUT_S, finish_timeout=_FINISH_TIMEOUT_S)
        if self._sweep_id is not None:
            settings.sweep_id = self._sweep_id
        init_arguments = {name: value for name, value in self._wandb_init.items() if name != "anonymous"}
        arguments = init_arguments | {"settings": settings, "reinit": "create_new"}
        run = None
        if not self._offline and not _connection_errors:
            try:
                run = wandb.init(**arguments)
            except wandb.Error as error:
                log.warning(
                    "Weights & Biases cannot be reached (%s): runs are kept on disk; docs/tracking.md has the command "
                    "that sends them later",
                    first_line(error)[:_LONGEST_REASON],
                )
                _connection_errors.append(error)
                _end_service()  # it still holds the run's id
        if run is None:
            run = wandb.init(**arguments, mode="offline")
        for axis in AXES:
            run.define_metric(axis)
        run.define_metric("*", step_metric=STEP)
        for metric, kinds in _SUMMARIES.items():
            run.define_metric(metric, step_metric=STEP, summary=",".join(kinds))
        return run

    def _try(self, action: Callable[[Any], Any]) -> None:
        """Runs an action on the W&B run; on failure warns once and disables W&B for this run."""
        if self.is_lost:
            return
        try:
            action(self.experiment)
        except Exception as error:
            self.is_lost = True
            if not self._is_disk_full:  # that has its own warning
                fault = disk_fault(error)
                reason = f"{type(error).__name__}: {first_line(error)[:_LONGEST_REASON]}"
                _warn_of_loss(reason if fault is None or fault.strerror is None else fault.strerror)
            _end_service()


@cache  # warns once, however many runs a command has
def _warn_of_loss(reason: str) -> None:
    log.warning(
        "Weights & Biases failed (%s): nothing more of this run is logged there. metrics.csv has everything; the same "
        "command, started again, logs the missing rows",
        reason,
    )


def _end_service() -> None:
    """Ends W&B's service, so that the next run starts a new one."""
    import wandb

    with suppress(Exception):  # raises when the service is dead already
        wandb.teardown()


_HEADER_BYTES = 7


def offline_files(directory: Path) -> list[Path]:
    """Returns the offline files of a run's folder that hold any record, oldest first."""
    files = sorted(directory.glob("wandb/offline-run-*/*.wandb"))  # folders are named by time
    return [file for file in files if file.stat().st_size > _HEADER_BYTES]  # a killed process often leaves less


def read_records(file: Path) -> Iterator[dict[str, Any]]:
    """Yields the records of an offline file; if it is cut short, those before the cut, which W&B syncs too.

    Raises:
        SubprocessError: When wandb cannot read it, or takes minutes.
    """
    reader = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    lines = subprocess.run(reader, capture_output=True, text=True, check=True, timeout=600).stdout.splitlines()
    yield from map(json.loads, lines)


def num_logged_steps(files: Sequence[Path]) -> int:
    """Returns the number of steps that the offline files of a run hold; the files are ordered oldest first.

    Each start logs what the files before it lack, so the newest file with a row has the last step.
    """
    for file in reversed(files):
        rows = [record["history"] for record in read_records(file) if record["type"] == "history"]
        if rows:
            return 1 + max(int(row["item"]["_step"]) for row in rows)
    return 0
