"""Lightning's loggers for TensorBoard and MLflow: what W&B gets, once a step, and failures that end no training."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from lightning.fabric.loggers.logger import _DummyExperiment, rank_zero_experiment
from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from medssr.errors import InputError, first_line
from medssr.tracking.wandb_logger import STEP, Progress
from medssr.utils.naming import safe_name

log = logging.getLogger(__name__)

_LONGEST_REASON = 200  # characters
_SHORT = 8  # digits of a fingerprint in the name of a folder
# The tag by which a run is found again.
FINGERPRINT_TAG = "medssr.fingerprint"
# Lightning's logger makes a client at once, which would make a database in every process, and fail before a training
# begins. A client of a server makes nothing; `_connect` replaces it in the main process.
_UNUSED_ADDRESS = "http://127.0.0.1"
# How long MLflow waits for a server that does not answer, and how often it asks again. Its own values (120 s, 7 times)
# are longer than the other processes of a training wait for the main one in a collective call.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """What a run is called.

    Attributes:
        experiment: Its study, or its command.
        name: Its name.
        fingerprint: What a resumed run has in common with its earlier starts.
    """

    experiment: str
    name: str
    fingerprint: str


class _Careful:
    """Gives a logger up, with one warning, when it fails."""

    is_lost = False

    def _try(self, action: Callable[[], Any]) -> None:
        if self.is_lost:
            return
        try:
            action()
        except Exception as error:
            self.is_lost = True
            reason = f"{type(error).__name__}: {first_line(error)[:_LONGEST_REASON]}"
            log.warning("%s failed (%s): nothing more of this run is logged there", type(self).__name__, reason)


class TensorBoardMetrics(_Careful, TensorBoardLogger):
    """Event files in `SAVE_DIR/EXPERIMENT/NAME~FINGERPRINT`, so that TensorBoard shows runs by study.

    A start of the same run says that it begins anew and logs the steps of `metrics.csv` again: TensorBoard then drops
    what earlier starts have logged, and each step is there once.

    Args:
        save_dir: The folder of all experiments.
        identity: The run.

    Raises:
        InputError: When TensorBoard is not installed.
    """

    def __init__(self, save_dir: str, identity: RunIdentity) -> None:
        version = f"{safe_name(identity.name)}~{identity.fingerprint[:_SHORT]}"
        experiment = safe_name(identity.experiment)
        try:
            super().__init__(save_dir, experiment, version, default_hp_metric=False, purge_step=0)
        except ModuleNotFoundError as error:
            raise _not_installed("tensorboard", error) from error
        self._progress = Progress()

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer of events; after a failure a dummy that ignores every call."""
        return _DummyExperiment() if self.is_lost else TensorBoardLogger.experiment.fget(self)  # type: ignore[attr-defined]

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Logs the configuration: as a text, and in `hparams.yaml` at the end."""
        self._try(lambda: self._log_configuration(params))

    def _log_configuration(self, params: Mapping[str, Any]) -> None:
        self.hparams.update(params)
        text = yaml.safe_dump(dict(params), sort_keys=False, allow_unicode=True)
        self.experiment.add_text("config", "".join(f"    {line}\n" for line in text.splitlines()))  # code in Markdown

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs the metrics of a step, with the tokens and hours up to it."""
        self._try(lambda: super(TensorBoardMetrics, self).log_metrics(_row(self._progress, metrics, step), step))

    def catch_up(self, rows: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        """Logs the rows (step, metrics) of earlier starts."""
        for step, metrics in rows:
            self.log_metrics(metrics, step)

    @rank_zero_only
    def summarize(self, values: Mapping[str, Any]) -> None:
        """Logs the numbers that a finished run has come to."""
        self._try(lambda: super(TensorBoardMetrics, self).log_metrics(_numbers(values), 0))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Writes what is buffered, and the configuration as `hparams.yaml`."""
        self._try(lambda: super(TensorBoardMetrics, self).finalize(status))


class MLflowMetrics(_Careful, MLFlowLogger):
    """A run of an MLflow experiment, which the starts of a resumed run share.

    Args:
        save_dir: The folder of the database `mlflow.db`.
        identity: The run.
        tracking_uri: The address of a server; None for the database.

    Raises:
        InputError: When MLflow is not installed.
    """

    def __init__(self, save_dir: str, identity: RunIdentity, tracking_uri: str | None = None) -> None:
        folder = Path(save_dir).absolute()
        arguments: dict[str, Any] = {
            "run_name": identity.name,
            "tracking_uri": _UNUSED_ADDRESS,
            "tags": {FINGERPRINT_TAG: identity.fingerprint},
            "artifact_location": None if tracking_uri else (folder / "mlflow").as_uri(),
        }
        try:
            super().__init__(identity.experiment, **arguments)
        except ModuleNotFoundError as error:
            raise _not_installed("mlflow", error) from error
        self._address = tracking_uri or f"sqlite:///{folder}/mlflow.db"
        self._folder = None if tracking_uri else folder
        self._fingerprint = identity.fingerprint
        self._last_steps: dict[str, int] | None = None  # of each metric that earlier starts have logged
        self._progress = Progress()

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """MLflow's client; after a failure a dummy that ignores every call."""
        if self.is_lost:
            return _DummyExperiment()
        if not self._initialized:
            self._connect()
        return MLFlowLogger.experiment.fget(self)  # type: ignore[attr-defined]

    def _connect(self) -> None:
        from mlflow.tracking import MlflowClient

        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
        self._tracking_uri = self._address
        self._mlflow_client = MlflowClient(self._address)
        self._run_id = self._earlier_run()

    def _earlier_run(self) -> str | None:
        """Returns the run that an earlier start has made; None where this is the first."""
        experiment = self._mlflow_client.get_experiment_by_name(self._experiment_name)
        if experiment is None:
            return None
        query = f"tags.`{FINGERPRINT_TAG}` = '{self._fingerprint}'"
        runs = self._mlflow_client.search_runs([experiment.experiment_id], query, max_results=1)
        return str(runs[0].info.run_id) if runs else None

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Logs the configuration of a new run; MLflow lets no run change its own."""

        def write() -> None:
            if not self.experiment.get_run(self.run_id).data.params:
                super(MLflowMetrics, self).log_hyperparams(params)
            self.experiment.update_run(self.run_id, status="RUNNING")

        self._try(write)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs the metrics of a step, with the tokens and hours up to it, unless the run has them already."""
        row = _row(self._progress, metrics, step)

        def write() -> None:
            last = self._steps_so_far()
            new = {name: value for name, value in row.items() if step is None or step > last.get(name, -1)}
            if new:
                super(MLflowMetrics, self).log_metrics(new, step)

        self._try(write)

    def _steps_so_far(self) -> dict[str, int]:
        if self._last_steps is None:
            client, run_id = self.experiment, self.run_id
            names = client.get_run(run_id).data.metrics
            self._last_steps = {
                name: max(metric.step for metric in client.get_metric_history(run_id, name)) for name in names
            }
        return self._last_steps

    def catch_up(self, rows: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        """Logs the rows (step, metrics) that the run does not have yet."""
        for step, metrics in rows:
            self.log_metrics(metrics, step)

    @rank_zero_only
    def summarize(self, values: Mapping[str, Any]) -> None:
        """Logs the numbers that a finished run has come to."""
        self._try(lambda: super(MLflowMetrics, self).log_metrics(_numbers(values)))

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Says in MLflow how the run has ended."""
        self._try(lambda: super(MLflowMetrics, self).finalize(status))


def _row(progress: Progress, metrics: Mapping[str, float], step: int | None) -> dict[str, float]:
    """Returns the metrics of a step with tokens and hours up to it, as W&B gets them; the step itself is their axis."""
    if step is None:
        return dict(metrics)
    progress.add(step, metrics)
    return dict(metrics) | {name: value for name, value in progress.axes(step).items() if name != STEP}


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float)}


def _not_installed(package: str, error: ModuleNotFoundError) -> InputError:
    return InputError(f"logger.{package}: {error}. pip install 'medssr[{package}]' brings it; logger=csv does without.")
