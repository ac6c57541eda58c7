"""Two trainers, each with its own vLLM in its process, do what one does, and continue where they were killed."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.trainers import TORCHRUN, finish, start, trainers

import medssr
from medssr.questions import read_questions, write_questions

RESOURCES = Path(medssr.__file__).parent / "resources"
INITIAL = load_file(RESOURCES / "policies" / "tiny_qwen3" / "model.safetensors")
NUM_STEPS = 10
SETTINGS = [
    "rollout=vllm",
    "rollout.cpu_kv_cache_gib=0.1",
    f"grpo.num_steps={NUM_STEPS}",
    "grpo.num_prompts_per_step=4",
    "grpo.num_generations=4",
    "grpo.beta=0.01",
    "callbacks.checkpoint.every_num_steps=3",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The override for questions that the tiny policy is not sure of."""
    questions = [q for q in read_questions(RESOURCES / "questions" / "evaluation.jsonl") if q.is_rare]
    path = tmp_path_factory.mktemp("data") / "questions.jsonl"
    write_questions(path, questions[:24])
    return f"data.path={path}"


@pytest.fixture(scope="module")
def alone(data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artefact of one trainer."""
    return finish(start("train", *trainers(None), *SETTINGS, data, folder=tmp_path_factory.mktemp("one")))


def flat(values: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([values[name].double().flatten() for name in INITIAL])


def weights(artifact: Path) -> torch.Tensor:
    return flat(load_file(artifact / "model" / "model.safetensors"))


def column(artifact: Path, name: str) -> list[float]:
    with (artifact / "metrics.csv").open(encoding="utf-8") as stream:
        return [float(row[name]) for row in csv.DictReader(stream)]


def assert_like_one(two: Path, alone: Path) -> None:
    """Asserts that two trainers have learnt what one has."""
    expected = weights(alone)
    assert (expected - flat(INITIAL)).norm() / expected.norm() > 1e-3
    assert (weights(two) - expected).norm() / expected.norm() < 1e-5
    assert column(two, "train/reward") == pytest.approx(column(alone, "train/reward"))
    assert 0 < max(column(two, "train/sync_logp_gap")) < 1e-4


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("artifacts/train/*/checkpoints/*.ckpt"))


def test_two_trainers_reach_the_weights_of_one(data, alone, tmp_path):
    assert_like_one(finish(start("train", *trainers("ddp"), *SETTINGS, data, folder=tmp_path)), alone)


def test_two_sharded_trainers_do_also_if_they_are_signalled_or_one_is_killed(data, alone, tmp_path):
    """Within a step of vLLM: first all are asked to end, then one is killed. Then they are asked within an update."""
    overrides = [*trainers("fsdp2"), *SETTINGS, data]
    two = finish(start("train", *overrides, folder=tmp_path / "two", launcher=TORCHRUN))
    assert_like_one(two, alone)

    folder = tmp_path / "interrupted"
    end_by_sigterm(folder, overrides, "sampling", 2)
    assert checkpoints(folder) == ["step_0000002.ckpt"]

    kill = [*moment("sampling", 4), "+callbacks.moment.does=kill", "+callbacks.moment.ranks=[1]"]
    killed = start("train", *overrides, *kill, folder=folder)
    output, _ = killed.communicate()
    assert killed.returncode == 1, output
    assert output.count("The process of rank 1 is gone") == 1, output
    assert "Traceback" not in output
    assert checkpoints(folder) == ["step_0000002.ckpt", "step_0000003.ckpt"]

    shares = column(two, "train/frac_nonzero_std")
    step = next(step for step, share in enumerate(shares) if step > 4 and share > 0)  # one that has an update
    end_by_sigterm(folder, overrides, "update", step)
    before = step // 3 * 3  # one in three steps is saved
    assert checkpoints(folder) == [f"step_{before:07d}.ckpt", f"step_{step + 1:07d}.ckpt"]

    resumed = finish(start("train", *overrides, folder=folder, launcher=TORCHRUN))
    assert torch.equal(weights(resumed), weights(two))
    assert column(resumed, "train/reward") == column(two, "train/reward")


def moment(name: str, step: int) -> list[str]:
    """The overrides with which both trainers stop at a moment of a step, which is counted from 0."""
    moment = "+callbacks.moment"
    return [f"{moment}._target_=support.moments.Moment", f"{moment}.at={name}", f"{moment}.step={step}"]


def end_by_sigterm(folder: Path, overrides: list[str], name: str, step: int) -> None:
    """Starts a training with torchrun, which gets SIGTERM when both trainers have come to a moment."""
    process = start("train", *overrides, *moment(name, step), folder=folder, launcher=TORCHRUN)
    until_both_are_at(name, process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate()
    assert process.returncode == 1  # torchrun's own, whatever its processes end with
    assert output.count("ended by SIGTERM; the same command goes on") == 1, output


def until_both_are_at(moment: str, process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    seen: list[str] = []
    for line in process.stdout:
        seen.append(line)
        if sum(f" at {moment}, pid" in text for text in seen) == 2:
            return
    pytest.fail("".join(seen))


ONE_OF_TWO = """
import torch, torch.distributed as dist
from support.helpers import random_policy
from medssr.engines.types import Sampling
from medssr.engines.vllm_engine import VLLMEngine

dist.init_process_group("gloo")
if dist.get_rank() == 1:
    policy = random_policy("qwen3", head_dim=32, hidden_size=64)
    engine = VLLMEngine(policy, 8, None, 0.3, 0.1, sleep=True, max_logp_gap=0.1)
    (group,) = engine.generate([[5, 6, 7]], [[1, 2]], Sampling(1.0, 4))
    engine.close()
    assert len(group) == 2
total = torch.tensor([1 + dist.get_rank()])
dist.all_reduce(total)
assert total.item() == 3
dist.destroy_process_group()
"""


def test_one_of_two_processes_can_sample_alone(tmp_path):
    """As where one process evaluates after a training with several."""
    program = tmp_path / "program.py"
    program.write_text(ONE_OF_TWO)
    done = subprocess.run(
        [*TORCHRUN, sys.executable, str(program)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
