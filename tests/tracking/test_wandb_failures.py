"""Failures of Weights & Biases (no key, full disk, killed service) do not change a training."""

from __future__ import annotations

import csv
import json
import logging
import multiprocessing
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.helpers import LetterEngine, random_policy, toy_question, typed
from support.small_disks import small_disk
from support.wandb_runs import records

from medssr.commands.train import train
from medssr.questions import write_questions
from medssr.tracking import wandb_logger
from medssr.tracking.wandb_logger import WandbMetrics
from medssr.utils.files import hash_path

pytestmark = pytest.mark.slow


class KillsWandb(LetterEngine):
    """An engine that kills W&B's service before its second step."""

    num_calls = 0

    def generate(self, prompts: Any, seeds: Any, sampling: Any) -> Any:
        KillsWandb.num_calls += 1
        if KillsWandb.num_calls == 2:
            children = subprocess.run(
                ["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True
            )
            (service,) = [line for line in children.stdout.splitlines() if "wandb-core" in line]
            os.kill(int(service.split()[0]), signal.SIGKILL)
        return super().generate(prompts, seeds, sampling)


def train_beside_wandb(folder: Path, logger: str, engine: str) -> None:
    """Trains three steps and writes the warnings, the metrics in the CSV file, and a hash of the model."""
    warnings: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("medssr").addHandler(handler)
    settings = ["extras.progress_bar=false", "extras.num_threads=1", "trainer=cpu", "grpo.num_prompts_per_step=2"]
    paths = [f"paths.root_dir={folder}", f"model.path={folder}/model", f"data.path={folder}/questions.jsonl"]
    config = typed("train", *settings, *paths, "grpo.num_steps=3", f"logger={logger}")
    made = train(replace(config, rollout={"_target_": engine}))
    with made.path("metrics.csv").open(encoding="utf-8") as stream:
        rows = [{name: value for name, value in row.items() if "time/" not in name} for row in csv.DictReader(stream)]
    outcome = {
        "warnings": warnings,
        "rows": rows,
        "model": hash_path(made.path("model") / "model.safetensors"),
        "directory": str(made.directory),
    }
    (folder / "outcome.json").write_text(json.dumps(outcome), encoding="utf-8")


def result(folder: Path, logger: str, engine: str) -> dict[str, Any]:
    """The outcome of `train_beside_wandb` in another process, which starts another W&B service."""
    folder.mkdir()
    random_policy("qwen3").save(folder / "model")
    write_questions(folder / "questions.jsonl", [toy_question(number) for number in range(4)])
    arguments = (folder, logger, engine)
    process = multiprocessing.get_context("spawn").Process(target=train_beside_wandb, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0
    return json.loads((folder / "outcome.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_a_service_that_is_killed_changes_no_result_and_gives_one_warning(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_SERVICE", raising=False)
    alone = result(tmp_path / "alone", "csv", "support.helpers.LetterEngine")
    disturbed = result(tmp_path / "disturbed", "default", f"{__name__}.KillsWandb")
    assert (disturbed["rows"], disturbed["model"]) == (alone["rows"], alone["model"])
    assert len(disturbed["warnings"]) == 1
    assert "Weights & Biases failed" in disturbed["warnings"][0]


def test_without_a_key_runs_are_kept_on_disk_with_one_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(wandb_logger, "_connection_errors", [])
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("HOME", str(tmp_path))
    wandb_logger._end_service()  # it has the environment of the earlier tests
    for name in ("first", "second"):
        logger = WandbMetrics(str(tmp_path / name), offline=False, project="medssr", id=name)
        (tmp_path / name).mkdir()
        logger.log_metrics({"train/reward": 0.5}, step=0)
        logger.close()
        assert [row["item"]["train/reward"] for row in records(tmp_path / name, "history")] == [0.5]
    warnings = [record.getMessage() for record in caplog.records if record.name == wandb_logger.__name__]
    assert len(warnings) == 1
    assert "docs/tracking.md" in warnings[0]


def test_a_full_disk_gives_one_warning_and_ends_nothing(tmp_path, caplog):
    with small_disk(tmp_path / "disk", "256k") as disk:
        (disk / "filler").write_bytes(b"x" * 200 * 2**10)
        logger = WandbMetrics(str(disk), offline=True, project="medssr", id="full")
        for step in range(30):
            logger.log_metrics({f"train/{number}": step * number for number in range(40)}, step=step)
        logger.close()
    warnings = [record.getMessage() for record in caplog.records if record.name == wandb_logger.__name__]
    assert len(warnings) == 1
    assert "the disk is full" in warnings[0]
