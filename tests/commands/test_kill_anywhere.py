"""Tests that medssr-train, killed at any moment and restarted, ends with the same weights, state and curves."""

from __future__ import annotations

import csv
import random
import signal
from pathlib import Path

import pytest
import torch
from support.commands import start
from support.helpers import are_same, toy_question
from support.wandb_runs import records

from medssr.questions import write_questions
from medssr.training.checkpoints import LAST, starting_point

NUM_STEPS = 12
SETTINGS = [
    "trainer=cpu",
    "extras.progress_bar=false",
    "extras.num_threads=1",
    f"grpo.num_steps={NUM_STEPS}",
    "grpo.num_prompts_per_step=2",
    "grpo.minibatch_prompts=1",
    "grpo.num_generations=3",
    "grpo.max_new_tokens=5",
    "+reward.even._target_=support.user_rewards.EvenTokens",  # of labels a random policy knows nothing
    "+reward.even.weight=1.0",
    "callbacks.checkpoint.every_num_steps=3",
]


def train(folder: Path, *kill: str) -> int:
    """Returns the exit code of a training with the settings of `Kill`; without them nothing counts its calls."""
    folder.mkdir(exist_ok=True)
    overrides = ["+callbacks.kill._target_=support.killing.Kill", *kill] if kill else []
    settings = [*SETTINGS, f"data.path={folder.parent}/questions.jsonl", f"model.path={folder.parent}/model"]
    process = start("train", *settings, *overrides, folder=folder)
    process.communicate()
    return process.returncode


def artifact(folder: Path) -> Path:
    (found,) = (path for path in folder.glob("artifacts/train/*") if path.is_dir())
    return found


def csv_rows(directory: Path) -> list[dict[str, str]]:
    with (directory / "metrics.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def untimed(rows):
    return [{name: value for name, value in row.items() if not name.startswith("time/")} for row in rows]


@pytest.mark.slow
def test_killed_at_any_call_it_ends_as_a_whole_run(random_policies, tmp_path):
    random_policies["qwen3"].save(tmp_path / "model")
    write_questions(tmp_path / "questions.jsonl", [toy_question(number) for number in range(5)])
    assert train(tmp_path / "whole", "+callbacks.kill.at_call=null") == 0
    whole = artifact(tmp_path / "whole")
    num_calls = int((whole / "num_calls").read_text())

    moments = [f"+callbacks.kill.at_call={random.Random(seed).randrange(num_calls // 2)}" for seed in range(2)]
    # In the rollout, between the optimiser steps of an update, in the middle of a checkpoint's file.
    moments.insert(1, "+callbacks.kill.at_call=9 +callbacks.kill.function=filtered_logps")
    moments.insert(2, "+callbacks.kill.at_call=10 +callbacks.kill.function=take_optimizer_step")
    moments.insert(3, "+callbacks.kill.at_call=20 +callbacks.kill.function=write_record")
    for moment in moments:
        assert train(tmp_path / "killed", *moment.split()) == -signal.SIGKILL, moment
        if "write_record" in moment:
            assert list(artifact(tmp_path / "killed").glob("checkpoints/*.tmp"))
    assert train(tmp_path / "killed") == 0

    killed = artifact(tmp_path / "killed")
    assert killed.name == whole.name
    assert (killed / "model/model.safetensors").read_bytes() == (whole / "model/model.safetensors").read_bytes()
    states = [torch.load(starting_point(LAST, directory), weights_only=True) for directory in (whole, killed)]
    assert are_same(*states)  # weights, optimiser, schedule, random states, callbacks, place in the data
    assert untimed(csv_rows(killed)) == untimed(csv_rows(whole))
    for directory in (whole, killed):
        assert {run["run_id"] for run in records(directory, "run")} == {directory.name}
        rows = [row["item"] for row in records(directory, "history")]
        assert [row["train/step"] for row in rows] == list(range(NUM_STEPS))
        for row, in_csv in zip(rows, csv_rows(whole), strict=True):
            for name, value in untimed([in_csv])[0].items():
                assert name == "step" or value == "" or row[name] == pytest.approx(float(value))
