"""Studies on disk as sweeps of medssr-pipeline write them, made without a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import yaml
from support.evaluations import write_run
from support.helpers import toy_question

from medssr.evaluation.scoring import BenchmarkScore
from medssr.questions import Question


def asked(num_questions: int = 40) -> list[Question]:
    """Questions, the first half of them about rare diseases."""
    return [toy_question(i, "AB"[i % 2], is_rare=2 * i < num_questions) for i in range(num_questions)]


def write_evaluation_of(folder: Path, name: str, share: float, seed: int) -> dict[str, BenchmarkScore]:
    """An evaluation with two samples a question, of which `share` are right; returns its scores."""
    generator, other = np.random.default_rng(seed), {"A": "B", "B": "A"}
    answers = {
        question.id: [question.answer if right else other[question.answer] for right in generator.random(2) < share]
        for question in asked()
    }
    run = write_run(folder, name, answers, questions=asked(), protocol={"num_samples": 2}, text="It is {}.")
    write_manifest(folder, "evaluate", seconds=360)
    return run.record.models[0].benchmarks


def write_manifest(
    folder: Path, step: str, seconds: float, gpus: tuple[str, ...] = (), counts: Mapping[str, Any] | None = None
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {"step": step, "seconds": seconds, "counts": dict(counts or {}), "inputs": {}}
    manifest["hardware"] = {"gpus": list(gpus)}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def write_job(folder: Path, task: str, overrides: list[str], config: dict[str, Any]) -> None:
    """Writes the files that Hydra writes for a job."""
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump({"task_name": task} | config), encoding="utf-8")
    (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(overrides), encoding="utf-8")


def write_pipeline_run(
    root: Path, study: str | None, alpha: float, seed: int, *overrides: str, share: float | None = None
) -> Path:
    """A run of the pipeline with one stage, at `logs/pipeline/sweeps/default/<overrides>`; returns its folder."""
    named = [f"synthesis.rare_share={alpha}", f"seed={seed}", *overrides]
    name = ",".join(named)
    folder = root / "logs" / "pipeline" / "sweeps" / "default" / name
    write_job(folder, "pipeline", named, {"study": study, "seed": seed, "synthesis": {"rare_share": alpha}})
    artifacts = root / "artifacts"
    trained, evaluated = artifacts / "train" / name, artifacts / "evaluate" / name
    share = 0.4 + 0.4 * alpha if share is None else share
    scores = write_evaluation_of(evaluated, "tiny", share, crc32(name.encode()) % 1000)
    write_manifest(trained, "train", seconds=720)
    rewards = [f"{step},{share * step / 10},100,72" for step in range(11)]
    text = "step,train/reward,train/num_tokens,time/step\n" + "\n".join(rewards) + "\n"
    (trained / "metrics.csv").write_text(text, encoding="utf-8")
    record = {
        "schema_version": 2,
        "run": name,
        "study": study,
        "overrides": [*named, *([f"study={study}"] if study else [])],
        "config": {"model": "tiny", "seed": seed, "rare_share": alpha},
        "models": [
            {"name": "stage1", "benchmarks": {benchmark: asdict(result) for benchmark, result in scores.items()}}
        ],
        "training": [{"stage": "stage1", "metrics_file": str(trained / "metrics.csv")}],
        "artifacts": {"evaluate stage1": str(evaluated)},
    }
    (folder / "results.json").write_text(json.dumps(record), encoding="utf-8")
    return folder
