"""What was logged to Weights & Biases without network, read back with wandb's own reader."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from helpers import typed
from wandb_runs import records

from medssr.config import TrainConfig
from medssr.tracking.loggers import open_loggers


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


def history(directory: Path) -> list[tuple[int, float]]:
    rows = [record["item"] for record in records(directory, "history")]
    return [(row["trainer/global_step"], row["train/reward"]) for row in rows]


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
        "train",
    )
    (update,) = [record["update"] for record in records(directory, "config")]
    assert update["grpo"]["beta"] == 0.25
    assert update["data"]["path"] == "questions.jsonl"


def test_a_resumed_run_keeps_its_id_and_goes_on_with_its_steps(config, tmp_path):
    log(config, tmp_path, range(2))
    log(config, tmp_path, range(2, 4))
    assert [run["run_id"] for run in records(tmp_path, "run")] == [tmp_path.name] * 2
    assert [step for step, _ in history(tmp_path)] == [0, 1, 2, 3]
