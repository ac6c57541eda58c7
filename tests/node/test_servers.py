"""Several trainers with real vLLM servers: the same weights as with one trainer, also while a server is lost."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.helpers import typed
from support.vllm_servers import Server, running_servers

import medssr
from medssr.questions import read_questions, write_questions

pytestmark = [
    pytest.mark.node,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make test-node"),
]

QUESTIONS = Path(medssr.__file__).parent / "resources" / "questions" / "evaluation.jsonl"
ONE = ["trainer=cpu"]
TWO = ["trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.devices=2"]
TRAINERS = {"ddp": ["trainer=ddp", *TWO], "fsdp2": ["trainer=fsdp2", *TWO]}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    model = typed("pipeline").model.path
    with running_servers(tmp_path_factory.mktemp("servers"), model, 2) as started:
        yield started


def start(folder: Path, servers: list[Server], num_steps: int, *overrides: str) -> subprocess.Popen[str]:
    """Starts a training on a few questions that have signal."""
    folder.mkdir()
    rare = [question for question in read_questions(QUESTIONS) if question.is_rare]
    write_questions(folder / "questions.jsonl", rare[:8])
    command = [
        *[sys.executable, "-m", "medssr.commands.train", *overrides],
        *["rollout=vllm_server", f"rollout.addresses=[{','.join(server.address for server in servers)}]"],
        *[f"rollout.weights_dir={folder}/weights", "rollout.timeout_s=120"],
        *[f"data.path={folder}/questions.jsonl", f"paths.root_dir={folder}", "hydra.verbose=[medssr.engines]"],
        *["grpo.num_prompts_per_step=4", f"grpo.num_steps={num_steps}", "grpo.num_generations=4"],
        *["logger=csv", "extras.progress_bar=false", "extras.num_threads=1"],
    ]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment, cwd=folder
    )


def trained(folder: Path, servers: list[Server], *overrides: str) -> dict[str, torch.Tensor]:
    """Returns the weights after ten steps."""
    process = start(folder, servers, 10, *overrides)
    log = process.communicate()[1]
    assert process.returncode == 0, log[-4000:]
    (path,) = folder.glob("artifacts/train/*/model/model.safetensors")
    return load_file(path)


@pytest.fixture(scope="module")
def expected(servers, tmp_path_factory) -> dict[str, torch.Tensor]:
    """The weights of one trainer with one server."""
    return trained(tmp_path_factory.mktemp("one") / "run", servers[:1], *ONE)


@pytest.mark.parametrize("num_servers", [1, 2])
@pytest.mark.parametrize("trainer", list(TRAINERS))
def test_two_trainers_end_with_the_weights_of_one(servers, expected, tmp_path, trainer, num_servers):
    found = trained(tmp_path / "run", servers[:num_servers], *TRAINERS[trainer])
    gap = torch.cat([(found[name].double() - weight.double()).flatten() for name, weight in expected.items()])
    assert gap.norm() / torch.cat([weight.flatten() for weight in expected.values()]).norm() < 1e-5


@pytest.mark.parametrize("trainer", list(TRAINERS))
def test_a_training_goes_on_when_one_of_two_servers_is_killed(servers, tmp_path, trainer):
    """The server that is killed is a third one, so that the other tests have theirs."""
    model = typed("pipeline").model.path
    (tmp_path / "logs").mkdir()
    with running_servers(tmp_path / "logs", model, 1) as (third,):
        process = start(tmp_path / "run", [servers[0], third], 30, *TRAINERS[trainer])
        log, num_syncs = "", 0
        for line in process.stderr:
            log += line
            num_syncs += f"{third.address}: its log-probs differ" in line
            if num_syncs == 5 and third.process.poll() is None:
                third.signal(signal.SIGKILL)
                third.process.wait()
        assert process.wait() == 0, log[-4000:]
    assert f"lost the server {third.address}" in log
    assert (tmp_path / "run").glob("artifacts/train/*/manifest.json")
