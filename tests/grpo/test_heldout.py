"""Held-out evaluation in training: what is logged, early stopping, the best model, and resuming."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from pathlib import Path

import pytest
from support.helpers import toy_question
from support.toy_stage import ToyStage, column, stop_before, weights

from medssr.errors import InputError
from medssr.questions import write_questions
from medssr.training import step_checkpoint
from medssr.training.checkpoints import write_checkpoint

pytestmark = pytest.mark.slow

RISE_AND_FALL = [0.4, 0.6, 0.9, 0.8, 0.7, 0.9, 0.4]
REWARDS = {"even": {"_target_": "support.user_rewards.EvenTokens", "weight": 1.0}}


@pytest.fixture
def stage(tmp_path):
    """Trains up to six steps on four questions, evaluated on ten others."""
    write_questions(tmp_path / "probe.jsonl", [toy_question(number) for number in range(4, 14)])
    settings = {"num_steps": 6, "num_prompts_per_step": 2, "num_generations": 4, "max_new_tokens": 8, "beta": 0.0}
    overrides = ["probe=file", f"probe.path={tmp_path}/probe.jsonl", "probe.every_num_steps=1"]
    overrides += [f"grpo.{name}={value}" for name, value in settings.items()]
    overrides += ["optim.optimizer.lr=0.01", "callbacks.checkpoint.every_num_steps=1"]
    toy_stage = ToyStage(tmp_path, 14, *overrides, rollout="support.planned_engine.PlannedEngine")

    def run(name, *overrides, rates=RISE_AND_FALL):
        (tmp_path / name).mkdir(exist_ok=True)
        return toy_stage(name, *overrides, reward=REWARDS, rates=rates, count_dir=str(tmp_path / name))

    return run


def test_accuracy_stands_beside_the_reward_of_its_step(stage):
    made = stage("run", "probe.every_num_steps=2")
    assert column(made, "val/probe/accuracy") == [0.4, None, 0.9, None, 0.7, None]
    assert column(made, "val/probe/best_accuracy") == [0.4, None, 0.9, None, 0.9, None]
    assert column(made, "val/probe/num_questions")[0] == 10
    assert None not in column(made, "train/reward")
    counts = made.manifest["counts"]
    assert counts["num_questions"] == 4  # of 14 questions ten are in the probe
    assert counts["probe"] == {"start": 0.4, "best": 0.9, "best_step": 2, "num_since_best": 2, "last": 0.4}
    assert not made.path("best").exists()


def test_the_best_model_stays_and_patience_ends_the_training(stage):
    best = stage("best", "probe.patience=2", "probe.keep=best")
    # Best after 2 steps; those after 3 and 4 are worse, and the step that has begun by then is the last.
    assert len(column(best, "train/reward")) == 5
    assert best.manifest["counts"]["probe"] == {
        "start": 0.4,
        "best": 0.9,
        "best_step": 2,
        "num_since_best": 3,  # after 3, 4 and, in the end, 5 steps
        "last": 0.9,
    }
    two = stage("two", "grpo.num_steps=2")
    assert weights(best.path("model")) == weights(two.path("model"))
    assert (best.path("model") / "tokenizer.json").is_file()
    later = stage("later", "probe.patience=2", "probe.min_steps=5")
    assert len(column(later, "train/reward")) == 6
    assert weights(later.path("model")) != weights(two.path("model"))


def test_training_that_only_harms_ends_with_the_model_that_it_began_with(stage, tmp_path):
    made = stage("run", "probe.keep=best", "grpo.num_steps=2", rates=[0.9, 0.8, 0.7])
    assert made.manifest["counts"]["probe"]["best_step"] == 0
    assert weights(made.path("model")) == weights(tmp_path / "model")


@pytest.mark.parametrize("num_done", [1, 3, 4])
def test_a_resumed_run_stops_at_the_same_step_with_the_same_model(stage, num_done):
    overrides = ("probe.patience=2", "probe.keep=best")
    whole = stage("whole", *overrides)
    with pytest.raises(ConnectionAbortedError):
        stage("resumed", *overrides, stop_before(num_done))
    made = stage("resumed", *overrides)
    assert made.manifest["counts"] == whole.manifest["counts"]
    for name in ("val/probe/accuracy", "val/probe/best_accuracy", "train/reward"):
        assert column(made, name) == column(whole, name)
    assert weights(made.path("model")) == weights(whole.path("model"))


def test_a_run_that_had_stopped_trains_no_further(stage, tmp_path):
    """Killed after its last step, before the model was there."""
    made = stage("run", "probe.patience=2", "probe.keep=best")
    logged = column(made, "train/reward")
    (made.directory / "manifest.json").unlink()
    shutil.rmtree(made.path("model"))
    again = stage("run", "probe.patience=2", "probe.keep=best")
    assert again.directory == made.directory
    assert column(again, "train/reward") == logged
    assert again.manifest["counts"] == made.manifest["counts"]


def flip_a_bit(folder: Path) -> None:
    file = folder / "step_0000002" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "message"), [(shutil.rmtree, "after 2 steps, is gone"), (flip_a_bit, "content of model.safetensors")]
)
def test_a_missing_or_damaged_best_model_is_logged_and_searched_again(stage, tmp_path, caplog, harm, message):
    with pytest.raises(ConnectionAbortedError):
        stage("run", "probe.keep=best", stop_before(4))
    (folder,) = (tmp_path / "run").glob("artifacts/train/*/best")
    harm(folder)
    with caplog.at_level(logging.WARNING, logger="medssr"):
        made = stage("run", "probe.keep=best")
    assert message in caplog.text
    assert made.manifest["counts"]["probe"]["best_step"] == 5
    assert made.manifest["counts"]["probe"]["start"] == 0.4


def test_the_best_model_of_the_newest_checkpoint_outlives_failed_checkpoints(stage, monkeypatch, caplog):
    """On a disk that is full, each step has a better model than the one before, and none of them a checkpoint."""

    def full_after_two_steps(path, write):
        if path.name > "step_0000002.ckpt":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_checkpoint(path, write)

    rates = [number / 10 for number in range(11)]  # the updates that are repeated count again
    with monkeypatch.context() as patch, pytest.raises(ConnectionAbortedError):
        patch.setattr(step_checkpoint, "write_checkpoint", full_after_two_steps)
        stage("run", "probe.keep=best", stop_before(5), rates=rates)
    with caplog.at_level(logging.WARNING, logger="medssr"):
        made = stage("run", "probe.keep=best", rates=rates)
    assert "is gone" not in caplog.text
    assert made.manifest["counts"]["probe"]["best_step"] == 6


def test_a_probe_that_holds_all_training_questions_is_refused(stage, tmp_path):
    write_questions(tmp_path / "probe.jsonl", [toy_question(number) for number in range(14)])
    with pytest.raises(InputError, match="none is left"):
        stage("run")
