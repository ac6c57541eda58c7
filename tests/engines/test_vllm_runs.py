"""Commands with the real vLLM: a generator, a training that is killed, and the whole method."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.helpers import typed

from medssr.benchmarks.reader import load_benchmark
from medssr.commands.evaluate import evaluate
from medssr.commands.pipeline import pipeline
from medssr.commands.train import train
from medssr.manifests import Artifact
from medssr.questions import read_questions, write_questions
from medssr.synthesis.plan import Draw, SynthesisRequest
from medssr.utils.instantiate import instantiate

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make test-vllm"),
]

# In this process, but for what is killed: the start of vLLM takes longer than anything that is asked of it here.
ALWAYS = ["trainer=cpu", "logger=csv", "extras.progress_bar=false", "extras.num_threads=1"]


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
    seeds = list(read_questions(config.seed_questions.path))[:4]
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
    actual, expected = (
        [[answer[field] for field in fields] for answer in predictions[rollout]] for rollout in ("vllm", "hf")
    )
    assert actual == expected


def test_a_killed_training_goes_on_with_the_same_rollouts(tmp_path):
    settings = [
        *ALWAYS,
        "rollout=vllm",
        f"data.path={tmp_path}/questions.jsonl",
        "grpo.num_steps=4",
        "grpo.num_prompts_per_step=2",
        "grpo.num_generations=4",
        "callbacks.checkpoint.every_num_steps=1",
    ]
    write_questions(tmp_path / "questions.jsonl", list(read_questions(typed("pipeline").seed_questions.path))[:20])

    process = subprocess.Popen(
        [sys.executable, "-m", "medssr.commands.train", *settings, "hydra.verbose=[medssr.training.step_checkpoint]"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"MEDSSR_ROOT": str(tmp_path / "killed")},
    )
    assert process.stderr is not None
    assert any(re.search("checkpoint after step 2 of", line) for line in process.stderr)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(tmp_path.glob("killed/artifacts/train/*/manifest.json"))

    whole, resumed = (
        train(typed("train", *settings, f"paths.root_dir={tmp_path / name}")) for name in ("undisturbed", "killed")
    )
    assert resumed.path("model/model.safetensors").read_bytes() == whole.path("model/model.safetensors").read_bytes()
    assert steps_of(resumed) == steps_of(whole)


def steps_of(artifact: Artifact) -> list[dict[str, str]]:
    """Returns the metrics of each step without times."""
    with artifact.path("metrics.csv").open(encoding="utf-8") as file:
        return [{name: row[name] for name in row if "time" not in name} for row in csv.DictReader(file)]


def test_the_pipeline_reaches_what_it_reaches_without_vllm(tmp_path):
    benchmark = list(load_benchmark(Path(typed("evaluate").benchmark.path)))[::4]
    write_questions(tmp_path / "benchmark.jsonl", benchmark)
    accuracies = {}
    for rollout in ("hf", "vllm"):
        config = typed(
            "pipeline",
            *ALWAYS,
            f"rollout={rollout}",
            "synthesis.num_questions=200",
            "labeling.num_votes=8",
            "grpo.num_steps=24",
            "grpo.num_prompts_per_step=16",
            "stages.1.settings.num_steps=4",
            f"benchmark.path={tmp_path}/benchmark.jsonl",
            f"paths.root_dir={tmp_path / rollout}",
        )
        pipeline(config, tmp_path / rollout / "run")
        results = json.loads((tmp_path / rollout / "run" / "results.json").read_text(encoding="utf-8"))
        slices = {model["name"]: model["benchmarks"]["benchmark"]["slices"] for model in results["models"]}
        accuracies[rollout] = {name: values["all"]["accuracy"]["value"] for name, values in slices.items()}
    accuracies_vllm, expected = accuracies["vllm"], accuracies["hf"]
    assert list(accuracies_vllm) == ["base", "stage1_selfsup", "stage2_sup"]
    assert accuracies_vllm["stage2_sup"] > accuracies_vllm["base"]
    for name in accuracies_vllm:
        deviation = (2 * expected[name] * (1 - expected[name]) / len(benchmark)) ** 0.5
        assert abs(accuracies_vllm[name] - expected[name]) < 3 * deviation
