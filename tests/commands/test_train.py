"""Tests medssr-train: the checkpoint it starts from, and its messages if it cannot start."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
import torch
from support.helpers import toy_question, typed

from medssr.commands.train import train
from medssr.errors import InputError
from medssr.questions import write_questions
from medssr.training.checkpoints import checkpoint_folder

pytestmark = pytest.mark.slow

SETTINGS = [
    "trainer=cpu",
    "logger=csv",
    "extras.progress_bar=false",
    "grpo.num_prompts_per_step=2",
    "grpo.num_generations=2",
    "grpo.max_new_tokens=4",
    "callbacks.checkpoint.every_num_steps=1",
    "+reward.even._target_=support.user_rewards.EvenTokens",  # a random policy gets no signal from labels
    "+reward.even.weight=1.0",
]


@pytest.fixture
def run(random_policies, tmp_path):
    """Trains on toy questions with the given overrides."""
    random_policies["qwen3"].save(tmp_path / "qwen3")
    random_policies["llama"].save(tmp_path / "llama")
    write_questions(tmp_path / "questions.jsonl", [toy_question(number) for number in range(4)])

    def train_with(*overrides, model="qwen3"):
        paths = {"paths.root_dir": "", "data.path": "questions.jsonl", "model.path": model}
        path_overrides = [f"{key}={tmp_path / name}" for key, name in paths.items()]
        return train(typed("train", *SETTINGS, "grpo.num_steps=2", *path_overrides, *overrides))

    return train_with


def checkpoint(artifact, num_done) -> Path:
    return checkpoint_folder(artifact.directory) / f"step_{num_done:07d}.ckpt"


def weights(artifact) -> bytes:
    return artifact.path("model").joinpath("model.safetensors").read_bytes()


def test_auto_and_last_are_the_same_artefact_and_a_path_is_an_input(run, tmp_path):
    plain = run()
    assert run("ckpt_path=last").directory == plain.directory
    copy = tmp_path / "copy.ckpt"
    shutil.copy(checkpoint(plain, 1), copy)
    resumed = run(f"ckpt_path={copy}")
    assert resumed.directory != plain.directory
    assert "ckpt_path" in resumed.manifest["inputs"]
    assert weights(resumed) == weights(plain)  # it repeats the second step
    shutil.copy(checkpoint(plain, 2), copy)
    assert run(f"ckpt_path={copy}").directory != resumed.directory


def test_last_wants_a_checkpoint_and_leaves_nothing_where_there_is_none(run, tmp_path):
    with pytest.raises(InputError, match="there is no checkpoint"):
        run("ckpt_path=last")
    assert not [path for path in tmp_path.glob("artifacts/train/*") if path.is_dir()]


def test_a_longer_training_goes_on_from_the_end_of_a_shorter(run, caplog):
    """The differences are logged; the result equals that of an uninterrupted long training."""
    short, long = run(), run("grpo.num_steps=4")
    with caplog.at_level(logging.WARNING):
        extended = run("grpo.num_steps=4", f"ckpt_path={checkpoint_folder(short.directory)}")
    assert "grpo.num_steps: 2 -> 4" in caplog.text
    assert weights(extended) == weights(long) != weights(short)


def test_a_shorter_training_is_refused(run):
    long = run("grpo.num_steps=3")
    with pytest.raises(InputError, match="after step 3, and the training has 2"):
        run(f"ckpt_path={checkpoint(long, 3)}")


def test_a_checkpoint_of_another_model_says_what_differs(run):
    llama = run(model="llama")
    with pytest.raises(InputError, match="another model") as error:
        run(f"ckpt_path={checkpoint(llama, 2)}")
    assert "q_norm.weight: none in the checkpoint, (8,) in the model" in str(error.value)
    assert "llama -> " in str(error.value)  # model.path


def test_a_checkpoint_of_another_optimizer_says_what_differs(run):
    plain = run()
    with pytest.raises(InputError, match=r"another optimiser: optim\.optimizer\.lr: 0\.0003 -> 0\.1"):
        run(f"ckpt_path={checkpoint(plain, 1)}", "optim.optimizer.lr=0.1")


@pytest.mark.parametrize("content", [{"state_dict": {}}, [1, 2]])
def test_other_archives_are_no_checkpoints(run, tmp_path, content):
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match="is no checkpoint of this version"):
        run(f"ckpt_path={tmp_path}/other.ckpt")


def test_a_pickle_from_a_stranger_is_not_run(run, tmp_path):
    torch.save({"state_dict": Path("x")}, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match="it is not read"):
        run(f"ckpt_path={tmp_path}/other.ckpt")
