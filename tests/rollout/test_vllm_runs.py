"""Commands with the real vLLM: a generator, a training that is killed, and the whole method."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import typed

from medssr.data.benchmarks import load_benchmark
from medssr.evaluate import evaluate
from medssr.questions import read_questions, write_questions
from medssr.synthesis.controls import Draw
from medssr.synthesis.generators import SynthesisRequest
from medssr.utils.instantiate import instantiate

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make test-vllm"),
]

ALWAYS = ["trainer=cpu", "logger=csv", "extras.progress_bar=false", "extras.num_threads=1"]


def start(folder: Path, module: str, *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", module, *ALWAYS, *overrides, f"hydra.run.dir={folder}/run"]
    environment = os.environ | {"MEDSSR_ROOT": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment
    )


def run_to_the_end(folder: Path, module: str, *overrides: str) -> None:
    process = start(folder, module, *overrides)
    _, log = process.communicate()
    assert process.returncode == 0, log


def answers(tmp_path: Path, option: str) -> list[str]:
    config = typed(
        "synthesize",
        f"generator={option}",
        f"generator.model.path={typed('pipeline').model.path}",
        "generator.temperature=0.01",
        "generator.max_new_tokens=40",
        f"paths.root_dir={tmp_path / option}",
    )
    generator = instantiate(config.generator, "generator")
    seeds = list(read_questions(config.seeds.path))[:4]
    draws = [Draw(slot, 0, 0.5, False, None, 0, (seeds[0], seeds[1]), rng_seed=slot) for slot in range(4)]
    list(generator.generate(SynthesisRequest(draw, (), seed.stem) for draw, seed in zip(draws, seeds, strict=True)))
    generator.close()
    ledger = next((tmp_path / option).rglob("local.jsonl")).read_text(encoding="utf-8")
    # Those after them ask for the same in another form, of which the policy knows nothing.
    return [record["text"] for record in map(json.loads, ledger.splitlines()) if "text" in record][:4]


def test_a_model_writes_the_same_through_vllm(tmp_path):
    expected = answers(tmp_path, "hf")
    assert len(expected) == 4
    assert answers(tmp_path, "vllm") == expected


def test_greedy_answers_and_their_second_pass_are_the_same_through_vllm(tmp_path):
    benchmark = Path(typed("evaluate").benchmark.path)
    write_questions(tmp_path / "benchmark.jsonl", list(load_benchmark(benchmark))[::12])
    predictions = {}
    for rollout in ("hf", "vllm"):
        config = typed(
            "evaluate",
            "protocol=greedy",
            "protocol.max_new_tokens=8",  # so that many answers are cut before their letter
            "protocol.second_pass=true",
            f"rollout={rollout}",
            f"benchmark.path={tmp_path}/benchmark.jsonl",
            f"paths.root_dir={tmp_path / rollout}",
            "extras.progress_bar=false",
        )
        lines = evaluate(config).path("predictions-benchmark.jsonl").read_text(encoding="utf-8").splitlines()
        predictions[rollout] = [answer for record in map(json.loads, lines) for answer in record["answers"]]
    assert any(answer["recovered"] is not None for answer in predictions["vllm"])
    fields = ("text", "letter", "recovered")
    found, expected = (
        [[answer[field] for field in fields] for answer in predictions[rollout]] for rollout in ("vllm", "hf")
    )
    assert found == expected


def test_a_killed_training_goes_on_with_the_same_rollouts(tmp_path):
    settings = [
        "rollout=vllm",
        "data.path=../questions.jsonl",
        "grpo.num_steps=4",
        "grpo.num_prompts_per_step=2",
        "grpo.num_generations=4",
        "callbacks.checkpoint.every_num_steps=1",
        "hydra.verbose=[medssr.callbacks.step_checkpoint]",
    ]
    human = Path(typed("pipeline").seeds.path)
    write_questions(tmp_path / "questions.jsonl", list(read_questions(human))[:20])
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    undisturbed.mkdir()
    killed.mkdir()
    run_to_the_end(undisturbed, "medssr.train", *settings)

    process = start(killed, "medssr.train", *settings)
    assert process.stderr is not None
    assert any(re.search("checkpoint after step 2 of", line) for line in process.stderr)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(killed.glob("artifacts/train/*/manifest.json"))
    run_to_the_end(killed, "medssr.train", *settings)

    (expected,) = undisturbed.glob("artifacts/train/*/model/model.safetensors")
    (found,) = killed.glob("artifacts/train/*/model/model.safetensors")
    assert found.read_bytes() == expected.read_bytes()


def test_the_pipeline_reaches_what_it_reaches_without_vllm(tmp_path):
    benchmark = Path(typed("evaluate").benchmark.path)
    write_questions(tmp_path / "benchmark.jsonl", list(load_benchmark(benchmark))[::8])
    accuracies = {}
    for rollout in ("hf", "vllm"):
        folder = tmp_path / rollout
        folder.mkdir()
        overrides = [
            "debug=quick",
            f"rollout={rollout}",
            "benchmark.path=../benchmark.jsonl",
            "protocol.num_samples=4",
        ]
        run_to_the_end(folder, "medssr.pipeline", *overrides)
        results = json.loads((folder / "run" / "results.json").read_text(encoding="utf-8"))
        slices = {model["name"]: model["benchmarks"]["benchmark"]["slices"]["all"] for model in results["models"]}
        accuracies[rollout] = {name: whole["accuracy"]["value"] for name, whole in slices.items()}
    assert list(accuracies["vllm"]) == ["base", "stage1_selfsup", "stage2_sup"]
    num_questions = 86
    for name, expected in accuracies["hf"].items():
        deviation = (2 * expected * (1 - expected) / num_questions) ** 0.5
        assert abs(accuracies["vllm"][name] - expected) < 3 * deviation
