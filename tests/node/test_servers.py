"""Two trainers with real vLLM servers: the weights of one trainer, also while a server is lost."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.helpers import typed
from support.trainers import finish, start, trainers
from support.vllm_servers import Server, free_port, running_servers

import medssr
from medssr.questions import read_questions, write_questions

RESOURCES = Path(medssr.__file__).parent / "resources"
INITIAL = load_file(RESOURCES / "policies" / "tiny_qwen3" / "model.safetensors")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    with running_servers(tmp_path_factory.mktemp("servers"), typed("pipeline").model.path, 1) as started:
        yield started


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The overrides for a training on questions that the tiny policy is not sure of."""
    questions = [
        question for question in read_questions(RESOURCES / "questions" / "evaluation.jsonl") if question.is_rare
    ]
    path = tmp_path_factory.mktemp("data") / "questions.jsonl"
    write_questions(path, questions[:8])
    counts = ["grpo.num_prompts_per_step=4", "grpo.num_generations=4", "grpo.num_steps=10"]
    return [f"data.path={path}", *counts, "rollout=vllm_server", "hydra.verbose=[medssr.engines]"]


def using(servers: list[Server], folder: Path) -> list[str]:
    addresses = ",".join(server.address for server in servers)
    return [f"rollout.addresses=[{addresses}]", f"rollout.weights_dir={folder}"]


def weights(artifact: Path) -> torch.Tensor:
    values = load_file(artifact / "model" / "model.safetensors")
    return torch.cat([values[name].double().flatten() for name in INITIAL])


@pytest.fixture(scope="module")
def expected(servers, settings, tmp_path_factory) -> torch.Tensor:
    """The weights after ten steps of one trainer with one server."""
    folder = tmp_path_factory.mktemp("one")
    overrides = [*trainers(None), *settings, *using(servers, folder / "weights")]
    return weights(finish(start("train", *overrides, folder=folder)))


def assert_same(artifact: Path, expected: torch.Tensor) -> None:
    assert (weights(artifact) - expected).norm() / expected.norm() < 1e-5


def test_two_trainers_with_one_server_reach_the_weights_of_one(servers, settings, expected, tmp_path):
    overrides = [*trainers("ddp"), *settings, *using(servers, tmp_path / "weights")]
    assert_same(finish(start("train", *overrides, folder=tmp_path)), expected)


def test_two_sharded_trainers_with_two_servers_do_also_when_one_is_killed(servers, settings, expected, tmp_path):
    """The server that is killed is one of its own, so that the other tests have theirs."""
    (tmp_path / "logs").mkdir()
    with running_servers(tmp_path / "logs", typed("pipeline").model.path, 1) as (other,):
        overrides = [*trainers("fsdp2"), *settings, *using([servers[0], other], tmp_path / "weights")]
        process = start("train", *overrides, folder=tmp_path)
        assert process.stdout is not None
        output, num_syncs = "", 0
        for line in process.stdout:
            output += line
            num_syncs += f"{other.address}: its log-probs differ" in line
            if num_syncs == 5 and other.process.poll() is None:
                other.signal(signal.SIGKILL)
                other.process.wait()
        assert process.wait() == 0, output[-6000:]
    assert f"lost the server {other.address}" in output
    (manifest,) = tmp_path.glob("artifacts/train/*/manifest.json")
    assert_same(manifest.parent, expected)


def test_all_trainers_end_with_the_message_of_the_first(settings, tmp_path):
    nowhere = f"http://127.0.0.1:{free_port()}"
    overrides = [*settings, f"rollout.addresses=[{nowhere}]", f"rollout.weights_dir={tmp_path}/weights"]
    process = start("train", *trainers("fsdp2"), *overrides, folder=tmp_path)
    output, _ = process.communicate()
    assert process.returncode == 2, output[-6000:]
    assert f"no server is left ({nowhere}: it cannot be reached" in output
    assert "Traceback" not in output
