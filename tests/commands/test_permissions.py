"""Files have the permissions that the umask leaves, whichever library writes them, so that a group can share them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from support.exports import make_export
from support.helpers import random_policy, toy_question, typed

from medssr.commands.evaluate import evaluate
from medssr.commands.train import train
from medssr.config import LoRAConfig
from medssr.engines.weight_transfer import _write
from medssr.llm.ledger import Ledger
from medssr.models.lora import add_adapters, save_adapters
from medssr.models.policy import Policy
from medssr.questions import write_questions
from medssr.sweeps.search import open_study

pytestmark = pytest.mark.slow

QUICK = ["extras.progress_bar=false", "extras.num_threads=1"]
TRAIN = ["trainer=cpu", "grpo.num_steps=1", "grpo.num_prompts_per_step=2", "grpo.num_generations=2", "logger=csv"]


@pytest.fixture(params=[0o002, 0o027, 0o077], ids=oct)
def umask(request):
    """Sets the umask of the process to one that shares with the group, with nobody else, or with nobody."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def check_modes(folder: Path, umask: int) -> None:
    """Checks the permissions of all below a folder; it has to hold files."""
    found = {path: path.stat().st_mode & 0o777 for path in folder.rglob("*")}
    assert any(path.is_file() for path in found)
    for path, mode in found.items():
        expected = 0o777 if path.is_dir() or path.suffix == ".sh" else 0o666
        assert oct(mode) == oct(expected & ~umask), path


# A mode that a library fixes shows under any of these, as wider or as narrower than what the umask leaves.
@pytest.mark.parametrize(
    ("umask", "overrides"),
    [(0o002, ["lora=default"]), (0o027, []), (0o077, ["lora=default"])],
    ids=["adapters", "all weights", "adapters of nobody else"],
    indirect=["umask"],
)
def test_of_training_and_evaluation(overrides, umask, tmp_path):
    random_policy("qwen3").save(tmp_path / "model")
    write_questions(tmp_path / "questions.jsonl", [toy_question(number) for number in range(4)])
    paths = [f"paths.root_dir={tmp_path}", f"model.path={tmp_path}/model"]
    made = train(typed("train", *paths, f"data.path={tmp_path}/questions.jsonl", *QUICK, *TRAIN, *overrides))
    assert list(made.path("model").rglob("*.safetensors"))
    benchmark = [f"benchmark.path={tmp_path}/questions.jsonl", "protocol.max_new_tokens=4"]
    evaluate(typed("evaluate", *paths, *benchmark, *QUICK))
    check_modes(tmp_path, umask)


def test_of_an_export(umask, random_policies: dict[str, Policy], tmp_path):
    exported = make_export("qwen3", random_policies, tmp_path)
    assert {path.suffix for path in exported.directory.rglob("*")} >= {".sh", ".parquet"}
    check_modes(tmp_path, umask)


def test_of_weights_for_servers_of_ledgers_and_of_searches(umask, tmp_path):
    _write(iter([("weight", torch.zeros(3))]), tmp_path / "weights")
    policy = random_policy("qwen3")
    add_adapters(policy.model, LoRAConfig(rank=2, alpha=4, target_modules=None), seed=0)
    save_adapters(policy.model, tmp_path / "adapters")
    ledger = Ledger(tmp_path / "ledgers" / "openai.jsonl")
    ledger.note_sent("0" * 64, 0)
    ledger.close()
    open_study(f"sqlite:///{tmp_path}/searches/optuna.db", "s", "maximize")
    check_modes(tmp_path, umask)
