"""Trainings on two processes that are interrupted: all save and leave together, and the same command goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands.test_train_processes import LETTERS, RARE, RESOURCES, SPREAD, TRAIN, TWO, metrics

from medssr.questions import write_questions

SETTINGS = [
    "logger=csv",
    "extras.progress_bar=false",
    "extras.num_threads=1",
    "grpo.num_steps=4",
    "grpo.num_prompts_per_step=2",
    "grpo.beta=0.1",
    "optim.scheduler.num_warmup_steps=0",
    "+callbacks.moment._target_=support.moments.Moment",
]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
DDP = [*TRAIN, *TWO]


def start(folder: Path, *overrides: str, command: list[str]) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    write_questions(folder / "questions.jsonl", RARE[:6])
    arguments = [*SETTINGS, f"data.path={folder / 'questions.jsonl'}", f"paths.root_dir={folder}", *overrides]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
        "TORCH_GLOO_LAZY_INIT": "0",
    }
    return subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True, env=environment, cwd=folder)


def run(folder: Path, *overrides: str, command: list[str], code: int = 0) -> str:
    process = start(folder, *overrides, command=command)
    _, log = process.communicate(timeout=300)
    assert process.returncode == code, log
    return log


def pids_at(process: subprocess.Popen[str], moment: str) -> list[int]:
    """Returns the ids of the processes by rank, once both have come to a moment."""
    pids: dict[int, int] = {}
    lines = []
    for line in process.stderr:
        lines.append(line)
        if found := re.match(rf"rank (\d) at {moment}, pid (\d+)", line):
            pids[int(found[1])] = int(found[2])
        if len(pids) == 2:
            return [pids[0], pids[1]]
    raise AssertionError("".join(lines))


def artifact(folder: Path) -> Path:
    (found,) = (path for path in folder.glob("artifacts/train/*") if path.is_dir())
    return found


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in (artifact(folder) / "checkpoints").iterdir())


def assert_ends_like(folder: Path, whole: Path, *overrides: str, command: list[str]) -> None:
    run(folder, "+callbacks.moment.at=null", *overrides, command=command)
    weights = "model/model.safetensors"
    before = RESOURCES / "policies" / "tiny_qwen3" / "model.safetensors"
    assert (artifact(folder) / weights).read_bytes() == (artifact(whole) / weights).read_bytes() != before.read_bytes()
    assert metrics(artifact(folder)) == metrics(artifact(whole))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run(folder, "+callbacks.moment.at=null", command=DDP)
    return folder


@pytest.fixture(scope="module")
def whole_sharded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    run(folder, "+callbacks.moment.at=null", *LETTERS, command=SPREAD)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "num_done"),
    [("rollout", 2), ("update", 3), ("checkpoint", 3)],
)
def test_sigterm_to_torchrun_saves_the_last_finished_step(tmp_path, whole, moment, num_done):
    process = start(
        tmp_path, f"+callbacks.moment.at={moment}", "callbacks.checkpoint.every_num_steps=3", command=[*TORCHRUN, *DDP]
    )
    pids_at(process, moment)
    process.terminate()
    _, log = process.communicate(timeout=60)
    assert log.count("ended by SIGTERM; the same command goes on from here") == 1, log
    assert checkpoints(tmp_path) == [f"step_{num_done:07d}.ckpt"], log
    assert_ends_like(tmp_path, whole, command=DDP)
