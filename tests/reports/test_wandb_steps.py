"""What steps log to Weights & Biases, read back with wandb's reader."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.helpers import random_policy, toy_question, typed
from support.wandb_runs import records

from medssr.commands.evaluate import evaluate
from medssr.commands.pseudo_label import pseudo_label
from medssr.commands.train import train
from medssr.manifests import Artifact
from medssr.questions import write_questions

pytestmark = pytest.mark.slow

SMALL = ["extras.progress_bar=false", "extras.num_threads=1", "study=alpha", "logger=default"]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Artifact]:
    """Votes, a stage of training and an evaluation, each on what the one before it made."""
    folder = tmp_path_factory.mktemp("steps")
    random_policy("qwen3").save(folder / "model")
    write_questions(folder / "questions.jsonl", [toy_question(number, None) for number in range(3)])
    write_questions(folder / "benchmark.jsonl", [toy_question(9, is_rare=True), toy_question(10, is_rare=False)])
    common = [*SMALL, f"paths.root_dir={folder}"]
    engine = {"_target_": "support.helpers.LetterEngine"}

    config = typed("pseudo_label", *common, f"data.path={folder}/questions.jsonl", f"model.path={folder}/model")
    labelled = pseudo_label(replace(config, rollout=engine))
    small = ["trainer=cpu", "grpo.num_steps=2", "grpo.num_prompts_per_step=2"]
    config = typed(
        "train", *common, *small, f"data.path={labelled.path('questions.jsonl')}", f"model.path={folder}/model"
    )
    trained = train(replace(config, rollout=engine))
    benchmark = ["benchmark=released", f"benchmark.path={folder}/benchmark.jsonl"]
    config = typed("evaluate", *common, *benchmark, f"model.path={trained.path('model')}")
    scored = evaluate(replace(config, rollout=engine))
    evaluate(replace(config, rollout=engine))  # as the next run of a sweep does
    return {"pseudo_label": labelled, "train": trained, "evaluate": scored}


def artifacts(made: Artifact) -> dict[bool, set[tuple[str, str]]]:
    """The W&B artifacts of a step's run, by whether the run used them: (type, name)."""
    by_use: dict[bool, set[tuple[str, str]]] = {True: set(), False: set()}
    for record in records(made.directory, "artifact"):
        by_use[bool(record.get("use_after_commit"))].add((record["type"], record["name"]))
    return by_use


def test_every_step_is_one_run_of_the_study(made):
    for step, artifact in made.items():
        runs = records(artifact.directory, "run")
        assert {run["run_id"] for run in runs} == {artifact.fingerprint}
        assert {run["run_group"] for run in runs} == {"alpha"}
        assert {run["job_type"] for run in runs} == {"stage1_selfsup" if step == "train" else step}


def test_a_step_that_is_used_again_is_not_logged_again(made):
    assert len(records(made["evaluate"].directory, "run")) == 1


def test_lineage_leads_from_the_questions_to_the_score(made):
    linked = {step: artifacts(artifact) for step, artifact in made.items()}
    names = {step: f"{step}-{artifact.fingerprint}" for step, artifact in made.items()}
    assert linked["pseudo_label"][False] == {("labels", names["pseudo_label"])}
    assert ("labels", names["pseudo_label"]) in linked["train"][True]
    tables = {("run_table", f"run-{made['train'].fingerprint}-completions")}  # W&B makes it
    assert linked["train"][False] - tables == {("model", names["train"])}
    assert ("model", names["train"]) in linked["evaluate"][True]
    assert linked["evaluate"][False] == {("results", names["evaluate"])}
    assert {kind for kind, _ in linked["pseudo_label"][True]} == {"data", "model"}
    assert "benchmark" in {kind for kind, _ in linked["evaluate"][True]}


def test_one_thing_is_one_artifact_in_every_run(made):
    digests: dict[str, set[str]] = {}
    for artifact in made.values():
        for record in records(artifact.directory, "artifact"):
            digests.setdefault(record["name"], set()).add(record["digest"])
    assert all(len(values) == 1 for values in digests.values())
    assert len(digests) >= 5


def test_completions_have_their_step(made):
    (history,) = [
        record["item"] for record in records(made["train"].directory, "history") if "completions.path" in record["item"]
    ]
    (file,) = made["train"].directory.glob(f"wandb/offline-run-*/files/{history['completions.path']}")
    table = json.loads(file.read_text(encoding="utf-8"))
    assert {row[table["columns"].index("step")] for row in table["data"]} == {history["train/step"]} == {0}


def summary(directory: Path) -> dict:
    values = {}
    for record in records(directory, "summary"):
        for item in record.get("update", {}).items() if isinstance(record.get("update"), dict) else []:
            values[item[0]] = item[1]
    return values


def test_the_summary_of_an_evaluation_has_its_scores(made):
    values = summary(made["evaluate"].directory)
    assert values["score/rare"] == values["score/common"] == 0.75
    assert values["score/benchmark/rare_n"] == 1
    (kept,) = made["evaluate"].directory.glob("wandb/offline-run-*/files/results.json")
    assert kept.read_text() == made["evaluate"].path("results.json").read_text()
