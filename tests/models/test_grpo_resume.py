"""An interrupted run of GRPO ends as an uninterrupted one does; which checkpoints there are."""

from __future__ import annotations

import shutil

import lightning as L
import pytest
from grpo_runs import are_equal, fit, metrics, weights
from helpers import copy_policy, grpo_config

from medssr.callbacks.checkpoint_files import AUTO, starting_point


class Interrupt(L.Callback):
    """Ends the run before or after a step, and keeps what a killed process would have left by then."""

    def __init__(self, moment, step, directory, left_by_kill):
        self._moment, self._step = moment, step
        self._directory, self._left_by_kill = directory, left_by_kill

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self._interrupt("before", batch_idx)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self._interrupt("after", batch_idx)

    def _interrupt(self, moment, step):
        if (moment, step) == (self._moment, self._step):
            shutil.copytree(self._directory, self._left_by_kill)
            raise ConnectionAbortedError


@pytest.mark.parametrize("is_killed", [False, True], ids=["error", "kill"])
@pytest.mark.parametrize(
    ("moment", "step", "has_checkpoint"),
    [("before", 1, False), ("after", 1, False), ("before", 2, True), ("after", 2, True), ("before", 3, True)],
)
def test_an_interrupted_run_ends_with_the_same_bits_as_a_whole_one(
    random_policies, tmp_path, moment, step, has_checkpoint, is_killed
):
    """Checkpoints are made after steps 1 and 3, when all else that ends a step has had its turn."""
    config = grpo_config(num_steps=4)
    whole = copy_policy(random_policies["qwen3"])
    fit(whole, tmp_path / "whole", config)

    stopped, killed = tmp_path / "stopped", tmp_path / "killed"
    stopped.mkdir()
    with pytest.raises(ConnectionAbortedError):
        fit(
            copy_policy(random_policies["qwen3"]), stopped, config, callbacks=[Interrupt(moment, step, stopped, killed)]
        )
    left = killed if is_killed else stopped
    assert (starting_point(AUTO, left) is not None) == has_checkpoint
    resumed = copy_policy(random_policies["qwen3"])
    fit(resumed, left, config)

    assert are_equal(weights(whole), weights(resumed))
    assert metrics(left) == metrics(tmp_path / "whole")


def test_resuming_a_finished_run_changes_nothing(random_policies, tmp_path):
    first = copy_policy(random_policies["qwen3"])
    fit(first, tmp_path)
    logged = metrics(tmp_path)
    again = copy_policy(random_policies["qwen3"])
    fit(again, tmp_path)
    assert are_equal(weights(first), weights(again))
    assert metrics(tmp_path) == logged


def test_the_newest_two_checkpoints_stay(policy, tmp_path):
    fit(policy, tmp_path, grpo_config(num_steps=5), every_num_steps=1)
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())] == [
        "step_0000004.ckpt",
        "step_0000005.ckpt",
    ]


def test_the_last_step_is_saved_even_out_of_turn(policy, tmp_path):
    fit(policy, tmp_path, grpo_config(num_steps=3), every_num_steps=2)
    assert starting_point(AUTO, tmp_path).name == "step_0000003.ckpt"


def test_a_folder_without_checkpoints_has_no_last_one(tmp_path):
    assert starting_point(AUTO, tmp_path) is None
