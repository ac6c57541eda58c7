"""Trainings on two processes that are interrupted: all save and leave together, and the same command goes on."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest
from support.processes import LETTERS, TORCHRUN, TRAIN, TWO, TWO_SHARDS, metrics, start_processes

import medssr
from medssr.questions import read_questions, write_questions

pytestmark = pytest.mark.slow

RESOURCES = Path(medssr.__file__).parent / "resources"
QUESTIONS = [item for item in read_questions(RESOURCES / "questions" / "evaluation.jsonl") if item.is_rare][:6]
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
WHOLE = [*TRAIN, *TWO]
# With a moving average, to which the KL is; each process has its shards of it.
SHARDED = [*TRAIN, *TWO_SHARDS, *LETTERS, "grpo/teacher=moving_average", "grpo.teacher.decay=0.5"]
SHARDED += ["grpo/selection=spread"]  # whose collective calls a signal must not come before
GOES_ON = "the same command goes on"


def start(folder: Path, *moment: str, command: list[str] = WHOLE) -> subprocess.Popen[str]:
    """Starts a training with a moment at which something happens."""
    folder.mkdir(exist_ok=True)
    write_questions(folder / "questions.jsonl", QUESTIONS)
    places = [f"data.path={folder / 'questions.jsonl'}", f"paths.root_dir={folder}"]
    return start_processes([*command, *SETTINGS, *places, *(f"+callbacks.moment.{item}" for item in moment)], folder)


def end(process: subprocess.Popen[str]) -> str:
    """Returns what a command printed once all its processes have ended, those that hold its output included."""
    return process.communicate(timeout=240)[1]


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
    return sorted(path.name for path in (artifact(folder) / "checkpoints").glob("*.ckpt"))


def train(folder: Path, command: list[str] = WHOLE) -> Path:
    process = start(folder, "at=null", command=command)
    log = end(process)
    assert process.returncode == 0, log
    return artifact(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    return train(tmp_path_factory.mktemp("sharded"), SHARDED)


def assert_goes_on_to(folder: Path, undisturbed: Path, command: list[str] = WHOLE) -> None:
    resumed = train(folder, command)
    before = RESOURCES / "policies" / "tiny_qwen3"
    weights = [path / "model.safetensors" for path in (resumed / "model", undisturbed / "model", before)]
    assert weights[0].read_bytes() == weights[1].read_bytes() != weights[2].read_bytes()
    assert metrics(resumed) == metrics(undisturbed)


@pytest.mark.parametrize(
    ("moment", "signum", "num_done"),
    [("rollout", signal.SIGTERM, 2), ("update", signal.SIGHUP, 3), ("checkpoint", signal.SIGTERM, 3)],
)
def test_a_signal_to_torchrun_saves_the_last_finished_step(tmp_path, whole, moment, signum, num_done):
    command = [*TORCHRUN, *WHOLE, "callbacks.checkpoint.every_num_steps=3"]
    process = start(tmp_path, f"at={moment}", command=command)
    pids_at(process, moment)
    process.send_signal(signum)
    log = end(process)
    assert process.returncode == 1  # torchrun's own, whatever its processes end with
    assert log.count(f"ended by {signum.name}; {GOES_ON}") == 1, log
    assert checkpoints(tmp_path) == [f"step_{num_done:07d}.ckpt"]
    assert_goes_on_to(tmp_path, whole)


def test_a_signal_to_the_first_process_ends_the_long_rollout_of_another(tmp_path, sharded):
    """The first process waits for the other in a collective call already."""
    process = start(tmp_path, "at=rollout", "ranks=[1]", command=SHARDED)
    pids_at(process, "rollout")
    process.send_signal(signal.SIGUSR1)
    log = end(process)
    assert process.returncode == 128 + signal.SIGUSR1, log
    assert log.count(f"ended by SIGUSR1; {GOES_ON}") == 1
    assert "Traceback" not in log
    assert checkpoints(tmp_path) == ["step_0000002.ckpt"]
    assert_goes_on_to(tmp_path, sharded, SHARDED)


@pytest.mark.parametrize(("moment", "killed"), [("rollout", 0), ("checkpoint", 1)])
def test_if_one_process_is_killed_the_other_ends_with_a_message(tmp_path, sharded, moment, killed):
    process = start(
        tmp_path,
        f"at={moment}",
        "does=kill",
        f"ranks=[{killed}]",
        command=[*SHARDED, "callbacks.checkpoint.every_num_steps=1"],
    )
    log = end(process)
    assert process.returncode == (-signal.SIGKILL if killed == 0 else 1), log
    assert log.count(f"The process of rank {killed} is gone") == 1, log
    assert GOES_ON in log
    assert "Traceback" not in log
    assert checkpoints(tmp_path) == ["step_0000001.ckpt", "step_0000002.ckpt"]
    assert_goes_on_to(tmp_path, sharded, SHARDED)


@pytest.mark.parametrize(
    ("at", "does", "rank", "code", "message"),
    [
        ("rollout", "fault", 1, 2, "the fault of this test"),
        ("rollout", "bug", 0, 1, "RuntimeError: the bug of this test"),
        ("checkpoint", "full", 1, 2, "the checkpoint before it is whole"),
    ],
)
def test_what_ends_one_process_is_shown_once_and_ends_the_other(tmp_path, at, does, rank, code, message):
    command = [*SHARDED, "callbacks.checkpoint.every_num_steps=1"]
    process = start(tmp_path, f"at={at}", f"does={does}", f"ranks=[{rank}]", command=command)
    log = end(process)
    assert process.returncode == code, log
    assert log.count(message) == 1, log
    assert log.count("Traceback") == (does == "bug")
    assert checkpoints(tmp_path) == ["step_0000001.ckpt", "step_0000002.ckpt"]
