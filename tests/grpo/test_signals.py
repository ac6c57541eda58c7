"""A signal ends a run of GRPO after saving its last finished step, and the resumed run ends with the same state."""

from __future__ import annotations

import os
import random
import signal
from functools import partial

import lightning as L
import numpy as np
import pytest
import torch
from support.grpo_runs import EvenTokens, fit, metrics
from support.helpers import are_same, copy_policy, grpo_config
from torch.optim import AdamW

from medssr.engines.hf_engine import HFEngine
from medssr.training.checkpoints import LAST, starting_point
from medssr.utils import stopping

pytestmark = pytest.mark.slow

SIGNAL_STEP = 2
CONFIG = grpo_config(num_steps=4, minibatch_prompts=1)  # two optimiser steps a training step


class DrawsFromEveryGenerator(EvenTokens):
    """A reward that depends on the random states, so that it differs if one is not restored."""

    def __call__(self, question, completion, choice):
        noise = random.random() + np.random.random() + torch.rand(()).item()
        return super().__call__(question, completion, choice) + 0.1 * noise


class BestSoFar(L.Callback):
    """A callback with a state: the highest random number drawn at the end of a step."""

    best = 0.0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.best = max(self.best, random.random())

    def state_dict(self):
        return {"best": self.best}

    def load_state_dict(self, state_dict):
        self.best = state_dict["best"]


class Sender(L.Callback):
    """Sends this process a signal once, at a given moment of a step."""

    def __init__(self, moment, signum=signal.SIGTERM):
        self.moment, self.signum, self.step = moment, signum, 0

    def at(self, moment):
        if moment == self.moment and self.step == SIGNAL_STEP:
            self.moment = None
            os.kill(os.getpid(), self.signum)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.step = batch_idx
        random.random()
        self.at("before the rollout")

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.at("update")

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.at("validation")

    def on_save_checkpoint(self, trainer, pl_module, checkpoint):
        self.at("checkpoint")


def run(random_policies, directory, sender, every_num_steps=10):
    """Trains in the folder, resuming if there is a checkpoint, and returns the final state of the callback."""

    class SignalledEngine(HFEngine):
        def generate(self, prompts, seeds, sampling):
            torch.rand(3)
            sender.at("rollout")
            return super().generate(prompts, seeds, sampling)

    random.seed(0), np.random.seed(0), torch.manual_seed(0)  # as every process of the same run does
    best = BestSoFar()
    fit(
        copy_policy(random_policies["qwen3"]),
        directory,
        CONFIG,
        DrawsFromEveryGenerator(),
        optimizer=partial(AdamW, lr=1e-2),
        callbacks=[best, sender],
        every_num_steps=every_num_steps,
        engine=SignalledEngine,
    )
    return best.best


def newest(directory):
    path = starting_point(LAST, directory)
    return path.name, torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def whole(random_policies, tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole")
    return run(random_policies, directory, Sender(None)), newest(directory)[1], metrics(directory)


def assert_ends_like_the_whole(random_policies, directory, whole):
    best, state, rows = whole
    assert run(random_policies, directory, Sender(None)) == best
    assert are_same(newest(directory)[1], state)  # weights, optimiser, schedule, random states, loops, callbacks
    assert metrics(directory) == rows


@pytest.mark.parametrize(
    ("moment", "num_done"),
    [
        ("before the rollout", SIGNAL_STEP),
        ("rollout", SIGNAL_STEP),
        ("update", SIGNAL_STEP + 1),  # an update that has begun is finished
        ("validation", SIGNAL_STEP + 1),
    ],
)
def test_the_last_finished_step_is_saved(random_policies, tmp_path, whole, moment, num_done):
    with pytest.raises(SystemExit) as end:
        run(random_policies, tmp_path, Sender(moment))
    assert end.value.code == 143
    assert newest(tmp_path)[0] == f"step_{num_done:07d}.ckpt"
    assert_ends_like_the_whole(random_policies, tmp_path, whole)


def test_a_checkpoint_that_is_being_made_is_finished(random_policies, tmp_path, whole):
    with pytest.raises(SystemExit):
        run(random_policies, tmp_path, Sender("checkpoint"), every_num_steps=SIGNAL_STEP + 1)
    assert newest(tmp_path)[0] == f"step_{SIGNAL_STEP + 1:07d}.ckpt"
    assert_ends_like_the_whole(random_policies, tmp_path, whole)


def test_an_update_that_takes_too_long_is_given_up(random_policies, tmp_path, whole, monkeypatch):
    """The weights are within an update, so no checkpoint is saved."""

    class EndlessUpdate(Sender):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            if self.step == SIGNAL_STEP:
                self.at("update")
                while True:
                    pass

    monkeypatch.setattr(stopping, "PATIENCE_S", 0.05)
    with pytest.raises(SystemExit) as end:
        run(random_policies, tmp_path, EndlessUpdate("update"), every_num_steps=1)
    assert end.value.code == 143
    assert newest(tmp_path)[0] == f"step_{SIGNAL_STEP:07d}.ckpt"
    assert_ends_like_the_whole(random_policies, tmp_path, whole)


@pytest.mark.parametrize(
    ("signum", "code"),
    [
        *((signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGUSR1, 138), (signal.SIGUSR2, 140)),
        (signal.SIGTERM, 143),
    ],
)
def test_each_signal_has_its_exit_code(random_policies, tmp_path, signum, code):
    with pytest.raises(SystemExit) as end:
        run(random_policies, tmp_path, Sender("rollout", signum))
    assert end.value.code == code
    assert newest(tmp_path)[0] == f"step_{SIGNAL_STEP:07d}.ckpt"


def test_a_signal_before_the_first_step_is_done_leaves_nothing_behind(random_policies, tmp_path):
    class AtOnce(Sender):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            os.kill(os.getpid(), self.signum)

    with pytest.raises(SystemExit):
        run(random_policies, tmp_path, AtOnce(None))
    assert not list(tmp_path.glob("checkpoints/*"))
