"""An interrupted and resumed run of GRPO ends like an uninterrupted one; which checkpoints are kept."""

from __future__ import annotations

import errno
import logging
import os
import resource
import shutil
import signal
import threading
from concurrent.futures import wait
from functools import partial
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from support.grpo_runs import are_equal, fit, metrics, weights
from support.helpers import copy_policy, grpo_config
from torch.optim import AdamW

from medssr.config.roots import AUTO
from medssr.errors import InputError
from medssr.training import step_checkpoint
from medssr.training.checkpoints import starting_point
from medssr.training.fsdp2 import FSDP2
from medssr.training.step_checkpoint import BackgroundIO
from medssr.utils.stopping import Stopped

pytestmark = pytest.mark.slow

CONFIG = grpo_config(num_steps=4)


class Interrupt(L.Callback):
    """Interrupts the run before or after a step, and copies the files that a killed process would have left."""

    def __init__(self, moment, step, directory, left_by_kill):
        self._moment, self._step = moment, step
        self._directory, self._left_by_kill = directory, left_by_kill

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self._interrupt("before", batch_idx, trainer)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self._interrupt("after", batch_idx, trainer)

    def _interrupt(self, moment, step, trainer):
        if (moment, step) == (self._moment, self._step):
            wait_for_checkpoint(trainer)  # so that this test does not depend on the time that writing takes
            shutil.copytree(self._directory, self._left_by_kill)
            raise ConnectionAbortedError


@pytest.fixture(scope="module")
def whole(random_policies, tmp_path_factory):
    """The weights and the metrics of a run that nothing interrupts."""
    policy, folder = copy_policy(random_policies["qwen3"]), tmp_path_factory.mktemp("whole")
    fit(policy, folder, CONFIG)
    return weights(policy), metrics(folder)


@pytest.mark.parametrize(
    ("moment", "step", "has_checkpoint"),
    [("before", 1, False), ("after", 1, False), ("before", 2, True), ("after", 2, True), ("before", 3, True)],
)
def test_an_interrupted_run_ends_with_the_same_bits_as_a_whole_one(
    random_policies, tmp_path, whole, moment, step, has_checkpoint
):
    """Checkpoints are saved after steps 1 and 3, after all other callbacks."""
    stopped, killed = tmp_path / "stopped", tmp_path / "killed"
    stopped.mkdir()
    with pytest.raises(ConnectionAbortedError):
        fit(
            copy_policy(random_policies["qwen3"]), stopped, CONFIG, callbacks=[Interrupt(moment, step, stopped, killed)]
        )
    for left in (stopped, killed):
        assert (starting_point(AUTO, left) is not None) == has_checkpoint
        resumed = copy_policy(random_policies["qwen3"])
        fit(resumed, left, CONFIG)
        assert are_equal(whole[0], weights(resumed)), left
        assert metrics(left) == whole[1], left


@pytest.mark.parametrize("ends", ["kill", "signal"])
def test_a_run_that_ends_while_a_checkpoint_is_written(random_policies, tmp_path, monkeypatch, ends):
    """Killed, it resumes from the checkpoint before; a signal waits for the checkpoint."""
    whole, stopped, killed = (tmp_path / name for name in ("whole", "stopped", "killed"))
    config = grpo_config(num_steps=4)
    expected = copy_policy(random_policies["qwen3"])
    fit(expected, whole, config)
    stopped.mkdir()
    may_end = threading.Event()

    def write_slowly(checkpoint, path):
        path.parent.mkdir(exist_ok=True)
        torch.save(checkpoint, path)
        if path.stem == "step_0000003":
            may_end.wait()

    class EndWithin(L.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if batch_idx == 3:
                while not (stopped / "checkpoints" / "step_0000003.tmp").exists():
                    pass
                shutil.copytree(stopped, killed)
                may_end.set()
                raise Stopped(signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(step_checkpoint, "write_whole", write_slowly)
        fit(copy_policy(random_policies["qwen3"]), stopped, config, callbacks=[EndWithin()], every_num_steps=1)
    left, num_done = (killed, 2) if ends == "kill" else (stopped, 3)
    assert starting_point(AUTO, left).name == f"step_000000{num_done}.ckpt"
    resumed = copy_policy(random_policies["qwen3"])
    fit(resumed, left, config)
    assert are_equal(weights(expected), weights(resumed))
    assert metrics(left) == metrics(whole)


def test_a_checkpoint_is_of_its_step_and_has_shared_weights_once(tmp_path):
    weight = torch.arange(100_000.0)
    state = {"a": weight, "b": weight[:10], "names": ["x"]}
    background = BackgroundIO()
    for number in range(2):
        background.save_checkpoint(state, tmp_path / f"step_{number}.ckpt")
        weight += 1
        state["names"].append("y")
    assert background.finish()
    assert not background.finish()
    background.teardown()
    for number in range(2):
        path = tmp_path / f"step_{number}.ckpt"
        saved = torch.load(path, weights_only=True)
        assert saved["a"].equal(torch.arange(100_000.0) + number)
        assert saved["b"].equal(saved["a"][:10])
        assert len(saved["names"]) == number + 1
        assert path.stat().st_size < 410_000


def test_checkpoints_in_quick_succession_are_written_in_turn(tmp_path, monkeypatch):
    may_end, written = threading.Event(), []

    def write_slowly(checkpoint, path):
        path.parent.mkdir(exist_ok=True)
        assert may_end.wait(60)
        written.append(int(checkpoint["weight"]))
        torch.save(checkpoint, path)

    monkeypatch.setattr(step_checkpoint, "write_whole", write_slowly)
    background, weight = BackgroundIO(), torch.zeros(())
    background.save_checkpoint({"weight": weight}, tmp_path / "step_0.ckpt")
    assert background.is_writing()
    threading.Timer(0.1, may_end.set).start()
    weight += 1
    background.save_checkpoint({"weight": weight}, tmp_path / "step_1.ckpt")  # waits for the first one
    assert (tmp_path / "step_0.ckpt").is_file()
    assert background.finish()
    background.teardown()
    assert written == [0, 1]
    assert [torch.load(tmp_path / f"step_{number}.ckpt")["weight"].item() for number in range(2)] == [0, 1]


@pytest.mark.parametrize("has_shards", [True, False])
def test_a_checkpoint_is_written_by_one_process_unless_each_has_its_shard(has_shards):
    trainer = SimpleNamespace(strategy=FSDP2(save_distributed_checkpoint=has_shards))
    assert step_checkpoint._writes_shards(trainer) is has_shards


def test_any_other_fault_of_writing_ends_training_and_keeps_the_checkpoint_before(
    random_policies, tmp_path, monkeypatch
):
    whole = step_checkpoint.write_whole

    def write(checkpoint, path):
        if path.stem == "step_0000002":
            raise LookupError("unexpected")
        whole(checkpoint, path)

    monkeypatch.setattr(step_checkpoint, "write_whole", write)
    with pytest.raises(LookupError, match="unexpected"):
        fit(copy_policy(random_policies["qwen3"]), tmp_path, grpo_config(num_steps=5), every_num_steps=1)
    assert [path.name for path in (tmp_path / "checkpoints").glob("*.ckpt")] == ["step_0000001.ckpt"]


def test_a_fused_optimiser_resumes_with_the_same_bits(random_policies, tmp_path):
    settings = {"config": grpo_config(num_steps=4), "optimizer": partial(AdamW, lr=1e-2, fused=True)}
    whole, resumed = (copy_policy(random_policies["qwen3"]) for _ in range(2))
    fit(whole, tmp_path / "whole", **settings)
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    with pytest.raises(ConnectionAbortedError):
        interrupt = Interrupt("after", 2, stopped, tmp_path / "killed")
        fit(copy_policy(random_policies["qwen3"]), stopped, callbacks=[interrupt], **settings)
    module = fit(resumed, stopped, **settings)
    assert module.trainer.optimizers[0].param_groups[0]["fused"]
    assert are_equal(weights(whole), weights(resumed))


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


def wait_for_checkpoint(trainer):
    """Waits until the checkpoint that is being written is done or has failed; the training has to notice itself."""
    writing = trainer.strategy.checkpoint_io._writing
    if writing is not None:
        wait([writing])


class FullDisk(L.Callback):
    """Limits the size of files at the end of some steps (RLIMIT_FSIZE)."""

    def __init__(self, num_bytes, *steps):
        self._num_bytes, self._steps = num_bytes, steps

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        wait_for_checkpoint(trainer)
        self._allow(self._num_bytes if batch_idx in self._steps else resource.RLIM_INFINITY)

    def on_exception(self, trainer, pl_module, exception):
        self._allow(resource.RLIM_INFINITY)

    def _allow(self, num_bytes):
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, resource.RLIM_INFINITY))


@pytest.mark.parametrize("num_bytes", [5000, 10], ids=["checkpoint", "metrics"])
def test_training_goes_on_while_the_disk_is_full(random_policies, tmp_path, caplog, num_bytes):
    config = grpo_config(num_steps=5)
    whole, policy = copy_policy(random_policies["qwen3"]), copy_policy(random_policies["qwen3"])
    fit(whole, tmp_path / "whole", config, every_num_steps=1)
    with caplog.at_level(logging.WARNING):
        fit(policy, tmp_path / "full", config, every_num_steps=1, callbacks=[FullDisk(num_bytes, 1, 2, 3)])
    assert are_equal(weights(whole), weights(policy))
    assert metrics(tmp_path / "full") == metrics(tmp_path / "whole")
    kept = sorted(file.name for file in (tmp_path / "full" / "checkpoints").iterdir())
    assert kept == ["step_0000001.ckpt", "step_0000005.ckpt"]
    warnings = [record.getMessage() for record in caplog.records if "Training continues" in record.getMessage()]
    assert len(warnings) == 1  # logged only once
    assert "step_0000002.ckpt" in warnings[0]
    assert "File too large" in warnings[0]


def test_a_disk_that_is_full_at_the_end_stops_with_the_checkpoint_before_it(random_policies, tmp_path):
    config = grpo_config(num_steps=4)
    whole = copy_policy(random_policies["qwen3"])
    fit(whole, tmp_path / "whole", config)
    with pytest.raises(InputError, match="Make room and start the same command again"):
        fit(copy_policy(random_policies["qwen3"]), tmp_path / "full", config, callbacks=[FullDisk(5000, 3)])
    assert starting_point(AUTO, tmp_path / "full").name == "step_0000002.ckpt"
    resumed = copy_policy(random_policies["qwen3"])
    fit(resumed, tmp_path / "full", config)
    assert are_equal(weights(whole), weights(resumed))
    assert metrics(tmp_path / "full") == metrics(tmp_path / "whole")


def test_a_signal_while_the_disk_is_full_says_that_training_ends(policy, tmp_path, monkeypatch, caplog):
    class Ends(L.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if batch_idx == 3:
                wait_for_checkpoint(trainer)
                monkeypatch.setattr(step_checkpoint, "write_checkpoint", full)
                raise Stopped(signal.SIGTERM)

    def full(path, write):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with caplog.at_level(logging.WARNING), pytest.raises(Stopped):
        fit(policy, tmp_path, grpo_config(num_steps=5), every_num_steps=2, callbacks=[Ends()])
    (message,) = [record.getMessage() for record in caplog.records if "No space left" in record.getMessage()]
    assert "step_0000003.ckpt" in message
    assert message.endswith("Training ends, and the same command goes on from there")
    assert starting_point(AUTO, tmp_path).name == "step_0000002.ckpt"
