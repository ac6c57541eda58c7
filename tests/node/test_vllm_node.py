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
from support.helpers import typed

from medssr.benchmarks.reader import load_benchmark
from medssr.commands.evaluate import evaluate
from medssr.commands.pseudo_label import pseudo_label
from medssr.errors import InputError
from medssr.models.policy import load_trainable_policy
from medssr.questions import read_questions, write_questions

pytestmark = [
    pytest.mark.node,
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make test-vllm"),
]

ALWAYS = ["extras.progress_bar=false", "extras.num_threads=1"]
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


def test_servers_with_adapters_answer_as_one_engine_with_the_merged_model(tmp_path):
    """The engine in process has the merged weights, so adapters that servers leave out would show."""
    config = typed("train", "data.path=unused.jsonl", "lora=default")
    policy = load_trainable_policy(config.model, config.lora, seed=1)
    generator = torch.Generator().manual_seed(1)
    for name, weight in policy.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05, generator=generator)
    policy.save(tmp_path / "merged")
    write_questions(tmp_path / "benchmark.jsonl", list(load_benchmark(Path(typed("evaluate").benchmark.path)))[::12])
    runs = {
        "adapters": ["rollout=vllm_node", f"model.adapter_path={tmp_path}/merged/adapter"],
        "merged": ["rollout=vllm", f"model.path={tmp_path}/merged"],
        "base": ["rollout=vllm"],
    }
    answers = {}
    for name, overrides in runs.items():
        settings = [
            *ALWAYS,
            f"benchmark.path={tmp_path}/benchmark.jsonl",
            "protocol.num_samples=1",
            "protocol.second_pass=true",
        ]
        made = evaluate(typed("evaluate", *settings, *overrides, f"paths.root_dir={tmp_path / name}"))
        lines = made.path("predictions-benchmark.jsonl").read_text(encoding="utf-8").splitlines()
        answers[name] = [json.loads(line)["answers"] for line in lines]
    assert answers["adapters"] == answers["merged"] != answers["base"]


def test_a_setting_that_a_server_refuses_is_shown_with_its_log(tmp_path, questions):
    settings = [f"data.path={questions}", "rollout=vllm_node", "rollout.cpu_kv_cache_gib=0.000001"]
    settings += ["rollout.num_servers=1", "rollout.max_model_len=512"]
    with pytest.raises(InputError, match=r"rollout: a server ended with code 1. The end of .*server_\d.log:") as caught:
        pseudo_label(typed("pseudo_label", *ALWAYS, *settings, f"paths.root_dir={tmp_path}"))
    assert "ValueError: No available memory for the cache blocks" in str(caught.value)
    assert not psutil.Process().children(recursive=True)
