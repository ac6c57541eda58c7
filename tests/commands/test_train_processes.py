"""Tests medssr-train on two processes: the same step as on one process, and one set of files."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.helpers import typed
from support.processes import LETTERS, TORCHRUN, TRAIN, TWO, TWO_SHARDS, metrics, start_processes
from support.toy_stage import stop_before

import medssr
from medssr.models.lora import save_adapters
from medssr.models.policy import load_trainable_policy
from medssr.questions import Question, read_questions, write_questions

RESOURCES = Path(medssr.__file__).parent / "resources"
QUESTIONS = list(read_questions(RESOURCES / "questions" / "evaluation.jsonl"))
RARE = [question for question in QUESTIONS if question.is_rare]
COMMON = [question for question in QUESTIONS if not question.is_rare]
# Steps so large that what float32 rounds off the weights is nothing beside them.
ONE_LARGE_STEP = [
    "logger=csv",
    "extras.progress_bar=false",
    "extras.num_threads=1",
    "optim.optimizer._target_=torch.optim.SGD",
    "optim.optimizer.lr=1e4",
    "optim.scheduler.num_warmup_steps=0",
    "grpo.num_steps=1",
    "grpo.max_grad_norm=1e9",
    "grpo.micro_batch_tokens=300",  # several micro-batches, whose number differs between processes
    "grpo.beta=0.1",
]
SPREAD = [*TRAIN, *TWO_SHARDS]
LAUNCHERS = {"Lightning": [*TRAIN, *TWO], "torchrun": [*TORCHRUN, *TRAIN, *TWO]}


def run(folder: Path, questions: list[Question], *overrides: str, command: list[str]) -> subprocess.CompletedProcess:
    folder.mkdir(exist_ok=True)
    write_questions(folder / "questions.jsonl", questions)
    arguments = [*ONE_LARGE_STEP, f"data.path={folder / 'questions.jsonl'}", f"paths.root_dir={folder}"]
    arguments.append(f"grpo.num_prompts_per_step={len(questions)}")
    process = start_processes([*command, *arguments, *overrides], folder)
    stdout, stderr = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def trained(folder: Path, *args, **kwargs) -> Path:
    done = run(folder, *args, **kwargs)
    assert done.returncode == 0, done.stderr[-4000:]
    (manifest,) = folder.glob("artifacts/train/*/manifest.json")
    return manifest.parent


def one_process(folder: Path, questions: list[Question], *overrides: str) -> Path:
    return trained(folder, questions, *overrides, command=[*TRAIN, "trainer=cpu"])


def two_processes(folder: Path, questions: list[Question], *overrides: str, launcher: str = "Lightning") -> Path:
    return trained(folder, questions, *overrides, command=LAUNCHERS[launcher])


def save_adapter(folder: Path) -> None:
    """Writes adapters of the default rank that change the tiny policy."""
    config = typed("train", "data.path=unused.jsonl", "lora=default")
    policy = load_trainable_policy(config.model, config.lora, seed=1)
    for name, weight in policy.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.01, generator=torch.Generator().manual_seed(weight.numel()))
    save_adapters(policy.model, folder)


def change(artifact: Path) -> torch.Tensor:
    """Returns the change of the weights in the step."""
    before = load_file(RESOURCES / "policies" / "tiny_qwen3" / "model.safetensors")
    after = load_file(artifact / "model" / "model.safetensors")
    return torch.cat([(after[name].double() - before[name].double()).flatten() for name in before])


def assert_same_step(two: Path, one: Path, error: float = 1e-6) -> None:
    expected = change(one)
    assert expected.norm() > 1
    assert (change(two) - expected).norm() / expected.norm() < error
    for row, expected_row in zip(metrics(two), metrics(one), strict=True):
        for name, value in row.items():
            # The mismatch of the engine's and the trainer's log-probs is rounding alone, which differs by machine.
            rounding = 1e-4 if "logprob_mismatch" in name else error
            assert value == pytest.approx(expected_row[name], rel=1e-4, abs=rounding), name
        assert row.keys() == expected_row.keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "overrides"),
    [
        ("Lightning", []),
        ("torchrun", ["grpo.scale_rewards=batch", "grpo/loss=grpo"]),
        ("Lightning", ["lora=default", "model.gradient_checkpointing=true", "model.adapter_path=adapter"]),
    ],
    ids=["default", "batch", "lora"],
)
def test_two_processes_take_the_step_of_one(tmp_path, launcher, overrides):
    """With adapters, the step goes on from those of an earlier stage, whose copy is the reference of the KL."""
    questions = RARE[:6]
    for folder in (tmp_path / "one", tmp_path / "two"):
        save_adapter(folder / "adapter")
    one = one_process(tmp_path / "one", questions, *overrides)
    two = two_processes(tmp_path / "two", questions, *overrides, launcher=launcher)
    # Gradients of adapters pass through two matrices more, and so do their rounding errors.
    assert_same_step(two, one, error=1e-5 if "lora=default" in overrides else 1e-6)
    files = {path.relative_to(two).parts[0] for path in two.rglob("*") if path.is_file()}
    assert files == {path.relative_to(one).parts[0] for path in one.rglob("*") if path.is_file()}
    assert len(list((two / "checkpoints").iterdir())) == 1
    counts = [json.loads((artifact / "manifest.json").read_text())["counts"] for artifact in (one, two)]
    assert counts[0] == counts[1]


@pytest.mark.slow
def test_a_process_without_anything_to_train_on_keeps_the_other_company(tmp_path):
    """One question has zero reward variance, so one of the two processes has no samples."""
    questions = [RARE[0], COMMON[0]]
    one = one_process(tmp_path / "one", questions)
    assert metrics(one)[0]["train/frac_nonzero_std"] == 0.5
    assert_same_step(two_processes(tmp_path / "two", questions), one)


@pytest.mark.slow
def test_two_processes_that_sample_a_step_ahead_take_the_steps_of_one_also_when_they_are_interrupted(tmp_path):
    """Three steps, of which the last was sampled ahead and came from a checkpoint."""
    ahead = [
        "rollout._target_=support.copied_engine.CopiedEngine",
        "+rollout.overlap=one_step",
        "grpo.tis_cap=2",
        "grpo.num_steps=3",
        "optim.optimizer.lr=10",
        "callbacks.checkpoint.every_num_steps=1",
    ]
    one = one_process(tmp_path / "one", RARE[:4], *ahead)
    stopped = run(tmp_path / "two", RARE[:4], *ahead, stop_before(2), command=LAUNCHERS["Lightning"])
    assert "ConnectionAbortedError" in stopped.stderr
    two = two_processes(tmp_path / "two", RARE[:4], *ahead)
    assert len(metrics(two)) == 3
    assert_same_step(two, one, error=1e-4)


@pytest.mark.slow
def test_a_sharded_model_takes_the_step_of_one_process(tmp_path):
    """Trains with FSDP2 on CPUs."""
    one = one_process(tmp_path / "one", RARE[:4], *LETTERS)
    two = trained(tmp_path / "two", RARE[:4], *LETTERS, command=SPREAD)
    assert_same_step(two, one)
    assert (two / "checkpoints" / "step_0000001.ckpt").is_dir()


@pytest.mark.slow
def test_processes_share_the_held_out_questions_and_keep_the_best_model_together(tmp_path):
    """The engine answers well after the first step alone; of three held-out questions one process has two."""
    heldout = [replace(question, answer="A") for question in COMMON[:2]] + [replace(COMMON[2], answer="C")]
    write_questions(tmp_path / "heldout.jsonl", heldout)
    overrides = [
        "rollout._target_=support.helpers.EngineOfOneGoodStep",
        "~rollout.max_batch_size",
        "grpo.num_steps=3",
        "probe=file",
        f"probe.path={tmp_path / 'heldout.jsonl'}",
        "probe.every_num_steps=1",
        "probe.keep=best",
    ]
    one = one_process(tmp_path / "one", RARE[:4], *overrides)
    expected = json.loads((one / "manifest.json").read_text())["counts"]["probe"]
    assert (expected["best_step"], expected["best"]) == (1, pytest.approx(2 / 3))
    for name, command in {"whole": LAUNCHERS["Lightning"], "sharded": SPREAD}.items():
        two = trained(tmp_path / name, RARE[:4], *overrides, command=command)
        assert json.loads((two / "manifest.json").read_text())["counts"]["probe"] == expected
        probes = [
            [{key: value for key, value in row.items() if key.startswith("val/")} for row in metrics(artifact)]
            for artifact in (one, two)
        ]
        assert probes[0] == probes[1]
        assert (change(two) - change(one)).norm() / change(one).norm() < 1e-6
