"""Tests medssr-sft on two processes: the same step as on one, with whole and with sharded models."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.processes import TORCHRUN, TWO, TWO_SHARDS, metrics, start_processes

import medssr
from medssr.questions import read_questions, write_questions

pytestmark = pytest.mark.slow

RESOURCES = Path(medssr.__file__).parent / "resources"
QUESTIONS = list(read_questions(RESOURCES / "questions" / "evaluation.jsonl"))[:6]
SFT = [sys.executable, "-m", "medssr.commands.sft"]
# A step so large that what float32 rounds off the weights is nothing beside it.
ONE_LARGE_STEP = [
    "demonstrations=labels",
    "extras.progress_bar=false",
    "extras.num_threads=1",
    "optim.optimizer._target_=torch.optim.SGD",
    "optim.optimizer.lr=1e4",
    "optim.scheduler.num_warmup_steps=0",
    "sft.num_steps=1",
    "sft.max_grad_norm=1e9",
    "sft.micro_batch_tokens=60",  # several micro-batches, whose number differs between processes
]


def tuned(folder: Path, num_rows: int, *overrides: str, command: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    write_questions(folder / "questions.jsonl", QUESTIONS)
    places = [f"demonstrations.path={folder / 'questions.jsonl'}", f"paths.root_dir={folder}"]
    arguments = [*command, *ONE_LARGE_STEP, f"sft.num_rows_per_step={num_rows}", *places, *overrides]
    process = start_processes(arguments, folder)
    _, log = process.communicate()
    assert process.returncode == 0, log
    (manifest,) = folder.glob("artifacts/sft/*/manifest.json")
    return manifest.parent


def change(artifact: Path) -> torch.Tensor:
    """Returns the change of the weights in the step."""
    before = load_file(RESOURCES / "policies" / "tiny_qwen3" / "model.safetensors")
    after = load_file(artifact / "model" / "model.safetensors")
    return torch.cat([(after[name].double() - before[name].double()).flatten() for name in before])


@pytest.mark.parametrize(
    ("num_rows", "command"),
    [(5, [*TORCHRUN, *SFT, *TWO]), (1, [*SFT, *TWO_SHARDS])],
    ids=["ddp", "fsdp2, one idle"],
)
def test_two_processes_take_the_step_of_one(tmp_path, num_rows, command):
    one = tuned(tmp_path / "one", num_rows, command=[*SFT, "trainer=cpu"])
    two = tuned(tmp_path / "two", num_rows, command=command)
    expected = change(one)
    assert expected.norm() > 1
    assert (change(two) - expected).norm() / expected.norm() < 1e-6
    assert metrics(two) == [pytest.approx(row, rel=1e-5) for row in metrics(one)]
