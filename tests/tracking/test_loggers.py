"""What is logged to Weights & Biases offline, read back with wandb's reader."""

from __future__ import annotations

import csv
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import wandb
from support.helpers import typed
from support.wandb_runs import records

from medssr.config import TrainConfig
from medssr.tracking.csv_logger import CSVMetrics
from medssr.tracking.loggers import open_loggers
from medssr.tracking.wandb_logger import AXES

pytestmark = pytest.mark.slow


@pytest.fixture
def config() -> TrainConfig:
    return typed("train", "data.path=questions.jsonl", "grpo.beta=0.25")


def log(config: TrainConfig, directory: Path, steps: range) -> None:
    with open_loggers(config.logger, config, directory) as loggers:
        for step in steps:
            for logger in loggers:
                logger.log_metrics({"train/reward": step / 10, "time/step": 0.5}, step=step)
        for logger in loggers:
            logger.finalize("success")


def log_and_die(config: TrainConfig, directory: Path, steps: range) -> None:
    with open_loggers(config.logger, config, directory) as loggers:
        for step in steps:
            for logger in loggers:
                logger.log_metrics({"train/reward": step / 10}, step=step)
        for logger in loggers:
            if isinstance(logger, CSVMetrics):
                logger.write()
        os.kill(os.getpid(), signal.SIGKILL)


def history(directory: Path) -> list[tuple[int, float]]:
    rows = [record["item"] for record in records(directory, "history")]
    return [(row["train/step"], row["train/reward"]) for row in rows]


def test_an_offline_run_holds_the_metrics_of_the_csv(config, tmp_path):
    log(config, tmp_path, range(3))
    with (tmp_path / "metrics.csv").open() as stream:
        in_csv = [(int(row["step"]), float(row["train/reward"])) for row in csv.DictReader(stream)]
    assert history(tmp_path) == in_csv == [(0, 0.0), (1, 0.1), (2, 0.2)]


def test_an_offline_run_holds_the_whole_configuration_and_its_place_in_the_method(config, tmp_path):
    directory = tmp_path / "0123456789abcdef"
    directory.mkdir()
    log(config, directory, range(1))
    (run,) = records(directory, "run")
    assert (run["run_id"], run["project"], run["run_group"], run["job_type"]) == (
        "0123456789abcdef",
        "medssr",
        "train",
        "stage1_selfsup",
    )
    (update,) = [record["update"] for record in records(directory, "config")]
    assert update["grpo"]["beta"] == 0.25
    assert update["data"]["path"] == "questions.jsonl"
    assert update["grpo"]["loss"]["_target_"] == "medssr.grpo.losses.DAPO"
    assert {"overrides", "git", "packages", "hardware"} <= update.keys()
    assert update["packages"]["wandb"] == wandb.__version__
    assert update["hardware"]["cpu_cores"] == os.cpu_count()


def test_a_run_belongs_to_its_study_and_is_found_by_its_tags(config, tmp_path):
    logger = config.logger | {"wandb": config.logger["wandb"] | {"tags": ["ablation"]}}
    log(replace(config, study="alpha", logger=logger), tmp_path, range(1))
    (run,) = records(tmp_path, "run")
    assert (run["run_group"], run["job_type"], run["display_name"]) == (
        "alpha",
        "stage1_selfsup",
        "defaults stage1_selfsup",
    )
    assert run["tags"] == ["ablation"]


def test_curves_can_be_drawn_over_steps_tokens_and_hours(config, tmp_path):
    with open_loggers(config.logger, config, tmp_path) as loggers:
        for step in (0, 1, 2, 1, 2):  # steps 1 and 2 are repeated after an interruption
            for logger in loggers:
                logger.log_metrics({"train/num_tokens": 100.0, "time/step": 1800.0}, step=step)
    axes = [tuple(record["item"][name] for name in AXES) for record in records(tmp_path, "history")]
    assert axes == [(0, 100, 0.5), (1, 200, 1), (2, 300, 1.5)]
    metrics = {record["name"]: record for record in records(tmp_path, "metric") if "name" in record}
    assert set(AXES) <= metrics.keys()
    (default,) = [record for record in records(tmp_path, "metric") if record.get("glob_name") == "*"]
    assert default["step_metric"] == "train/step"


def log_elsewhere(config: TrainConfig, directory: Path, steps: range) -> None:
    """Logs in another process: while W&B's service runs, it may not have written the whole file yet."""
    process = multiprocessing.get_context("spawn").Process(target=log, args=(config, directory, steps))
    process.start()
    process.join()
    assert process.exitcode == 0


def test_a_resumed_run_keeps_its_id_and_goes_on_with_its_steps(config, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_SERVICE", raising=False)  # the process starts another W&B service
    log_elsewhere(config, tmp_path, range(2))
    log(config, tmp_path, range(2, 4))
    assert [run["run_id"] for run in records(tmp_path, "run")] == [tmp_path.name] * 2
    assert [step for step, _ in history(tmp_path)] == [0, 1, 2, 3]


def test_a_step_that_is_repeated_after_a_resumption_has_one_row(config, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_SERVICE", raising=False)  # the process starts another W&B service
    log_elsewhere(config, tmp_path, range(4))
    log(config, tmp_path, range(2, 6))
    assert [step for step, _ in history(tmp_path)] == [0, 1, 2, 3, 4, 5]


@pytest.mark.slow
def test_what_a_killed_process_did_not_write_is_taken_from_the_csv(config, tmp_path, monkeypatch):
    """The offline file of a killed process ends at the last full block, which here is before the first row."""
    monkeypatch.delenv("WANDB_SERVICE", raising=False)  # the process starts another W&B service
    directory = tmp_path / "run"
    killed = multiprocessing.get_context("spawn").Process(target=log_and_die, args=(config, directory, range(4)))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert history(directory) == []
    log(config, directory, range(3, 6))  # the checkpoint was made after step 2
    assert history(directory) == [(step, step / 10) for step in range(6)]
    assert {run["run_id"] for run in records(directory, "run")} == {"run"}


def test_metrics_of_the_same_step_share_a_row(config, tmp_path):
    with open_loggers(config.logger, config, tmp_path) as loggers:
        for step in range(2):
            for logger in loggers:
                logger.log_metrics({"train/reward": step / 10}, step=step)
                logger.log_metrics({"val/accuracy": 0.5}, step=step)
    rows = [record["item"] for record in records(tmp_path, "history")]
    assert [(row["_step"], row["train/reward"], row["val/accuracy"]) for row in rows] == [(0, 0, 0.5), (1, 0.1, 0.5)]
