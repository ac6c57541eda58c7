"""Commands with real vLLM servers that they start themselves: the results of one engine, and nothing left behind."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import select
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from support.commands import run
from support.helpers import typed

import medssr
from medssr.benchmarks.reader import load_benchmark
from medssr.commands.evaluate import evaluate
from medssr.commands.pseudo_label import pseudo_label
from medssr.commands.train import train
from medssr.errors import InputError
from medssr.questions import read_questions, write_questions

pytestmark = [
    pytest.mark.node,
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make test-vllm"),
]

ALWAYS = ["extras.progress_bar=false", "extras.num_threads=1"]
# Large steps, so that what float32 rounds off the weights is nothing beside them.
STEPS = [*ALWAYS, "logger=csv", "grpo.num_steps=3", "grpo.num_prompts_per_step=4", "grpo.num_generations=4"]
STEPS += ["grpo.max_grad_norm=1e9"]
STEPS += ["optim.optimizer._target_=torch.optim.SGD", "optim.optimizer.lr=100", "optim.scheduler.num_warmup_steps=0"]
TWO = ["trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.devices=2"]
TRAINERS = {"cpu": ["trainer=cpu"], "ddp": ["trainer=ddp", *TWO], "fsdp2": ["trainer=fsdp2", *TWO]}
ENVIRONMENT = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "GLOO_SOCKET_IFNAME": "lo"}
# The requests by which a server is compared with the policy.
NUM_CHECKS = 4


@pytest.fixture(scope="module")
def questions(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("questions") / "questions.jsonl"
    write_questions(path, list(read_questions(typed("pipeline").seed_questions.path))[:48])
    return path


def num_answered(address: str) -> float:
    """The number of completions that a server has finished."""
    with urllib.request.urlopen(f"{address}/metrics") as response:
        return sum(map(float, re.findall(r"^vllm:request_success_total\{.*\} (.*)$", response.read().decode(), re.M)))


def servers_of(process: subprocess.Popen[str]) -> set[str]:
    """The addresses of a command's servers, after the second chunk of four."""
    assert process.stderr is not None
    output = ""
    for line in process.stderr:
        output += line
        if "chunk 2 of 4" in line:
            return set(re.findall(r"http://127.0.0.1:\d+", output))
    pytest.fail(output)


def test_votes_are_those_of_one_engine_and_no_server_outlives_a_killed_command(tmp_path, questions):
    settings = [*ALWAYS, f"data.path={questions}", "labeling.min_agreement=0", "labeling.questions_per_chunk=12"]
    several = ["rollout=vllm_node", "hydra.verbose=[medssr.engines]"]
    process = subprocess.Popen(
        [sys.executable, "-m", "medssr.commands.pseudo_label", *settings, *several],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"MEDSSR_ROOT": str(tmp_path / "node"), "OMP_NUM_THREADS": "1"},
    )
    with process:
        try:
            addresses = servers_of(process)
            assert len(addresses) == 2
            for address in addresses:
                assert num_answered(address) > NUM_CHECKS, "a server got no question"
            left = psutil.Process(process.pid).children(recursive=True)
            assert len(left) >= 6  # two guards, two servers, and the engine of each
            descriptors = [os.pidfd_open(descendant.pid) for descendant in left]
        finally:
            process.kill()
        for descriptor, descendant in zip(descriptors, left, strict=True):
            assert select.select([descriptor], [], [], 60)[0], f"{descendant} is left"
            os.close(descriptor)

    resumed, expected = (
        pseudo_label(typed("pseudo_label", *settings, f"rollout={rollout}", f"paths.root_dir={tmp_path / folder}"))
        for rollout, folder in (("vllm_node", "node"), ("vllm", "process"))
    )
    for name in ("votes.jsonl", "questions.jsonl"):
        assert resumed.path(name).read_bytes() == expected.path(name).read_bytes()


def test_answers_are_scored_as_those_of_one_engine(tmp_path):
    write_questions(tmp_path / "benchmark.jsonl", list(load_benchmark(Path(typed("evaluate").benchmark.path)))[::6])
    answers = {}
    for rollout in ("vllm_node", "vllm"):
        settings = [f"rollout={rollout}", f"benchmark.path={tmp_path}/benchmark.jsonl", "protocol.second_pass=true"]
        made = evaluate(typed("evaluate", *ALWAYS, *settings, f"paths.root_dir={tmp_path / rollout}"))
        lines = made.path("predictions-benchmark.jsonl").read_text(encoding="utf-8").splitlines()
        answers[rollout] = [json.loads(line)["answers"] for line in lines]
    assert answers["vllm_node"] == answers["vllm"]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> Path:
    """Questions of which the policy answers some, so that there is something to learn."""
    path = tmp_path_factory.mktemp("labelled") / "questions.jsonl"
    questions = read_questions(Path(medssr.__file__).parent / "resources" / "questions" / "evaluation.jsonl")
    write_questions(path, [question for question in questions if question.is_rare][:8])
    return path


@pytest.fixture(scope="module")
def expected_weights(labelled, tmp_path_factory) -> torch.Tensor:
    """The weights after the steps of one trainer with one engine in its process."""
    folder = tmp_path_factory.mktemp("process")
    settings = [*STEPS, f"data.path={labelled}", *TRAINERS["cpu"], "rollout=vllm", f"paths.root_dir={folder}"]
    return weights_of(train(typed("train", *settings)).path("model"))


def weights_of(folder: Path) -> torch.Tensor:
    weights = load_file(folder / "model.safetensors")
    return torch.cat([weights[name].flatten() for name in sorted(weights)])


@pytest.mark.parametrize("trainer", TRAINERS)
def test_trainers_take_the_steps_of_one_engine(tmp_path, labelled, expected_weights, trainer):
    settings = [*STEPS, f"data.path={labelled}", *TRAINERS[trainer], "rollout=vllm_node"]
    run("train", *settings, folder=tmp_path, env=ENVIRONMENT)
    (trained,) = tmp_path.glob("artifacts/train/*/model")
    change = expected_weights - weights_of(Path(typed("train").model.path))
    assert (weights_of(trained) - expected_weights).norm() < 1e-3 * change.norm()


def test_a_setting_that_a_server_refuses_is_shown_with_its_log(tmp_path, questions):
    settings = [f"data.path={questions}", "rollout=vllm_node", "rollout.cpu_kv_cache_gib=0.000001"]
    settings += ["rollout.num_servers=1"]
    with pytest.raises(InputError, match=r"rollout: a server ended with code 1. The end of .*server_\d.log:") as caught:
        pseudo_label(typed("pseudo_label", *ALWAYS, *settings, f"paths.root_dir={tmp_path}"))
    assert "ValueError: No available memory for the cache blocks" in str(caught.value)
    assert not psutil.Process().children(recursive=True)
