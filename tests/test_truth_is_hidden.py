"""The truth of a synthetic question is for reports: synthesis, labelling and training are the same without it."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from support.helpers import random_policy, toy_question, typed

from medssr.benchmarks.reader import load_benchmark
from medssr.commands.pseudo_label import pseudo_label
from medssr.commands.synthesize import synthesize
from medssr.commands.train import train
from medssr.errors import InputError
from medssr.questions import read_questions, write_questions
from medssr.toy.builtin_questions import EVALUATION_FILE

pytestmark = pytest.mark.slow

ALWAYS = ["extras.progress_bar=false", "extras.num_threads=1"]
REPORTED = {"train/label_accuracy", "train/reward_accuracy", "train/true_accuracy"}
PROVENANCES = {"none": {}, "right": {"truth": "A"}, "wrong": {"truth": "B"}}


@pytest.fixture
def labelling(tmp_path):
    """Labels questions with the given provenance, by an engine that answers A in three of four samples."""
    random_policy("qwen3").save(tmp_path / "model")

    def run(name):
        questions = [toy_question(number, answer=None, provenance=PROVENANCES[name]) for number in range(3)]
        write_questions(tmp_path / f"{name}.jsonl", questions)
        return pseudo_label(settings("pseudo_label", tmp_path, f"{name}.jsonl", "labeling.num_votes=4"))

    return run


def settings(root, tmp_path, questions, *overrides):
    config = typed(
        root,
        f"paths.root_dir={tmp_path}",
        f"model.path={tmp_path}/model",
        f"data.path={tmp_path}/{questions}",
        *ALWAYS,
        *overrides,
    )
    return replace(config, rollout={"_target_": "support.helpers.LetterEngine"})


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_pseudo_labels_do_not_depend_on_the_truth(labelling):
    made = {name: labelling(name) for name in PROVENANCES}
    votes = {name: lines(artifact.path("votes.jsonl")) for name, artifact in made.items()}
    assert votes["none"] == votes["right"] == votes["wrong"]
    labels = {name: [item.answer for item in read_questions(made[name].path("questions.jsonl"))] for name in made}
    assert labels["none"] == labels["right"] == labels["wrong"] == ["A"] * 3
    # Reports alone know it.
    assert [made[name].manifest["counts"]["kept_with_truth"] for name in made] == [0, 3, 3]
    assert [made[name].manifest["counts"]["kept_right"] for name in made] == [0, 3, 0]


def test_training_does_not_depend_on_the_truth(tmp_path):
    random_policy("qwen3").save(tmp_path / "model")
    weights, metrics = [], []
    for name, provenance in PROVENANCES.items():
        write_questions(tmp_path / f"{name}.jsonl", [toy_question(n, provenance=provenance) for n in range(3)])
        overrides = ["grpo.num_steps=2", "grpo.num_prompts_per_step=2", "grpo.num_generations=4"]
        made = train(settings("train", tmp_path, f"{name}.jsonl", "logger=csv", "trainer=cpu", *overrides))
        weights.append(load_file(made.path("model") / "model.safetensors"))
        with made.path("metrics.csv").open(encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        assert (rows[0].keys() >= REPORTED) == bool(provenance)
        ignored = ("time/", *REPORTED)
        metrics.append([{key: value for key, value in row.items() if not key.startswith(ignored)} for row in rows])
    assert metrics[0] == metrics[1] == metrics[2]
    assert float(metrics[0][0]["train/reward"]) == 0.75
    for other in weights[1:]:
        assert all(torch.equal(weights[0][name], other[name]) for name in other)
    start = load_file(tmp_path / "model" / "model.safetensors")
    assert not all(torch.equal(start[name], weights[0][name]) for name in start)


def test_synthetic_questions_have_no_answer_and_counts_add_up(tmp_path):
    config = typed("synthesize", f"paths.root_dir={tmp_path}", "synthesis.num_questions=60", *ALWAYS)
    made = synthesize(config)
    questions = list(read_questions(made.path("questions.jsonl")))
    counts = made.manifest["counts"]
    assert len(questions) == counts["num_questions"] == 60
    assert all(question.answer is None for question in questions)
    assert all(question.provenance["truth"] in question.options for question in questions)
    assert counts["num_rare"] == sum(question.is_rare is True for question in questions)
    assert counts["num_injected"] == sum(question.provenance["is_injected"] for question in questions)
    assert counts["num_rejected"] == sum(counts["rejected"].values()) == len(lines(made.path("rejected.jsonl")))
    stems = {question.stem for question in load_benchmark(EVALUATION_FILE)}
    assert not stems & {question.stem for question in questions}


def test_the_ceiling_of_a_study_takes_the_truth_of_what_the_vote_keeps(tmp_path):
    random_policy("qwen3").save(tmp_path / "model")
    write_questions(
        tmp_path / "q.jsonl", [toy_question(number, answer=None, provenance={"truth": "B"}) for number in range(3)]
    )
    overrides = ["labeling.num_votes=4", "labeling.uses_truth=true"]
    made = pseudo_label(settings("pseudo_label", tmp_path, "q.jsonl", *overrides))
    assert [item.answer for item in read_questions(made.path("questions.jsonl"))] == ["B"] * 3
    write_questions(tmp_path / "q.jsonl", [toy_question(0, answer=None)])
    with pytest.raises(InputError, match=r"uses_truth.*q0"):
        pseudo_label(settings("pseudo_label", tmp_path, "q.jsonl", *overrides))
