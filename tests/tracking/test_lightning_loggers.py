"""What is logged to TensorBoard and to MLflow, read back with their own readers."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.helpers import typed

from medssr.config import TrainConfig
from medssr.errors import InputError
from medssr.tracking.csv_logger import CSVMetrics
from medssr.tracking.lightning_loggers import MLflowMetrics, TensorBoardMetrics
from medssr.tracking.loggers import open_loggers


def config_of(logger: str, root: Path) -> TrainConfig:
    settings = ["data.path=questions.jsonl", "grpo.beta=0.25", "study=alpha", f"paths.root_dir={root}"]
    return typed("train", *settings, f"logger={logger}")


def log(config: TrainConfig, directory: Path, steps: range, *, ends: bool = True) -> None:
    """Logs some steps; a training that is killed has not ended, and its CSV has what it had at its checkpoint."""
    directory.mkdir(exist_ok=True)
    with open_loggers(config.logger, config, directory) as loggers:
        for step in steps:
            for logger in loggers:
                logger.log_metrics({"train/reward": step / 10, "time/step": 1800, "train/num_tokens": 5}, step=step)
                if isinstance(logger, CSVMetrics) and step % 2 == 1:
                    logger.write()
        for logger in loggers:
            if ends:
                logger.finalize("success")
            elif isinstance(logger, TensorBoardMetrics):
                logger.experiment.flush()


def curves_of_tensorboard(root: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = (root / "logs" / "tensorboard" / "alpha").iterdir()
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {
        tag: [(event.step, round(event.value, 6)) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }


def mlflow_run(root: Path) -> Any:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{root}/logs/mlflow.db")
    experiment = client.get_experiment_by_name("alpha")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    return client, run


@pytest.mark.slow
def test_tensorboard_has_the_metrics_of_a_resumed_run_once(tmp_path):
    pytest.importorskip("tensorboard")
    config = config_of("tensorboard", tmp_path)
    log(config, tmp_path / "0123456789abcdef", range(5), ends=False)  # the checkpoint was made after step 3
    log(config, tmp_path / "0123456789abcdef", range(4, 6))
    curves = curves_of_tensorboard(tmp_path)
    assert curves["train/reward"] == [(step, step / 10) for step in range(6)]
    assert curves["time/hours"][-1] == (5, 3.0)
    assert curves["train/total_tokens"][-1] == (5, 30)
    (folder,) = (tmp_path / "logs" / "tensorboard" / "alpha").iterdir()
    assert folder.name == "defaults stage1_selfsup~01234567"
    assert "beta: 0.25" in (folder / "hparams.yaml").read_text(encoding="utf-8")


@pytest.mark.slow
def test_mlflow_has_one_run_of_a_resumed_training(tmp_path):
    pytest.importorskip("mlflow", reason="make test-export has MLflow")
    config = config_of("mlflow", tmp_path)
    log(config, tmp_path / "0123456789abcdef", range(5), ends=False)
    client, run = mlflow_run(tmp_path)
    assert run.info.status == "RUNNING"
    log(config, tmp_path / "0123456789abcdef", range(4, 6))
    client, run = mlflow_run(tmp_path)
    history = client.get_metric_history(run.info.run_id, "train/reward")
    assert [(metric.step, metric.value) for metric in history] == [(step, step / 10) for step in range(6)]
    assert run.data.metrics["time/hours"] == 3.0
    assert run.data.params["grpo/beta"] == "0.25"
    assert run.info.run_name == "defaults stage1_selfsup"
    assert run.info.status == "FINISHED"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_a_logger_that_fails_ends_no_training(tmp_path, name, caplog):
    pytest.importorskip(name)
    (tmp_path / "logs").write_text("no folder", encoding="utf-8")
    config = config_of(name, tmp_path)
    with caplog.at_level(logging.WARNING):
        log(config, tmp_path / "0123456789abcdef", range(3))
    warnings = [record.message for record in caplog.records if "nothing more of this run" in record.message]
    assert len(warnings) == 1
    assert len((tmp_path / "0123456789abcdef" / "metrics.csv").read_text(encoding="utf-8").splitlines()) == 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_only_the_main_process_logs(tmp_path, name, monkeypatch):
    from lightning.pytorch.utilities import rank_zero_only

    pytest.importorskip(name)
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    log(config_of(name, tmp_path), tmp_path / "0123456789abcdef", range(3))
    assert not (tmp_path / "logs").exists()


@pytest.mark.slow
def test_a_package_that_is_not_there_is_named_with_the_extra_that_brings_it(tmp_path, monkeypatch):
    monkeypatch.setattr("lightning.pytorch.loggers.mlflow._MLFLOW_AVAILABLE", False)
    config = config_of("mlflow", tmp_path)
    with (
        pytest.raises(InputError, match=r"^logger\.mlflow: .*pip install 'medssr\[mlflow\]'"),
        open_loggers(config.logger, replace(config), tmp_path),
    ):
        pass


@pytest.mark.slow
def test_the_numbers_of_a_finished_run_are_logged(tmp_path):
    pytest.importorskip("tensorboard")
    config = config_of("tensorboard", tmp_path)
    nodes = {"tensorboard": config.logger["tensorboard"]}
    with open_loggers(nodes, config, tmp_path, "fedcba9876543210") as (logger,):
        logger.summarize({"score/rare": 0.5, "study": "alpha"})
        logger.finalize("success")
    assert curves_of_tensorboard(tmp_path) == {"score/rare": [(0, 0.5)]}


def test_the_loggers_are_lightnings():
    from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger

    assert issubclass(TensorBoardMetrics, TensorBoardLogger)
    assert issubclass(MLflowMetrics, MLFlowLogger)
