"""Evaluation, votes and training of a pretrained model, with the commands."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch
from support.helpers import typed

from medssr.commands.evaluate import evaluate
from medssr.commands.pseudo_label import pseudo_label
from medssr.commands.train import train
from medssr.models.policy import load_policy
from medssr.models.prompts import render_prompt

ALWAYS = ["model.gradient_checkpointing=false", "extras.progress_bar=false", "extras.num_threads=1"]
# Short answers, which a model of this size can give.
TRAINING = [
    "grpo.num_steps=2",
    "grpo.num_prompts_per_step=4",
    "grpo.num_generations=4",
    "grpo.max_new_tokens=12",
    "grpo.beta=0.01",
    "optim.optimizer.lr=1e-4",
    "reward=label_match_and_length",
    "trainer=cpu",
    "logger=csv",
]


def predictions(path_of_model, question_file, root, *overrides):
    config = typed(
        "evaluate",
        "model=local",
        f"model.path={path_of_model}",
        "protocol=loglikelihood",
        "benchmark=released",
        f"benchmark.path={question_file}",
        f"paths.root_dir={root}",
        *overrides,
        *ALWAYS,
    )
    lines = evaluate(config).path("predictions-questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [record["answers"][0]["letter"] for record in map(json.loads, lines)]


def test_log_likelihood_scores_are_those_of_transformers(policy, folder, question_file, questions, tmp_path):
    """The letter whose token is most probable after "The answer is"."""
    expected = []
    for question in questions:
        context = render_prompt(question, "{question}", policy.tokenizer) + "The answer is"
        token_ids = policy.tokenizer(context, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logps = policy.model(torch.tensor([token_ids])).logits[0, -1].log_softmax(-1)
        letters = {letter: policy.tokenizer(f" {letter}")["input_ids"] for letter in question.options}
        assert all(len(ids) == 1 for ids in letters.values())
        expected.append(max(letters, key=lambda letter: logps[letters[letter][0]].item()))
    assert predictions(folder, question_file, tmp_path) == expected
    assert len(set(expected)) > 1


def test_votes_of_a_model_that_often_names_no_letter(folder, question_file, questions, tmp_path):
    config = typed(
        "pseudo_label",
        "model=local",
        f"model.path={folder}",
        f"data.path={question_file}",
        "labeling.num_votes=8",
        "labeling.max_new_tokens=12",
        "labeling.min_agreement=0.25",
        f"paths.root_dir={tmp_path}",
        *ALWAYS,
    )
    artifact = pseudo_label(config)
    lines = artifact.path("votes.jsonl").read_text(encoding="utf-8").splitlines()
    votes = {record["question_id"]: record for record in map(json.loads, lines)}
    assert votes.keys() == {question.id for question in questions}
    for question in questions:
        counts = Counter(votes[question.id]["counts"])
        assert counts.total() <= 8
        assert set(counts) <= set(question.options)
    labelled = artifact.path("questions.jsonl").read_text(encoding="utf-8").splitlines()
    for record in map(json.loads, labelled):
        counts = votes[record["id"]]["counts"]
        assert counts[record["answer"]] >= 2  # a quarter of all eight votes, not of those that name a letter


@pytest.mark.parametrize("adapters", ["all weights", "lora"])
def test_a_trained_model_is_saved_and_evaluated_again(adapters, folder, question_file, tmp_path):
    lora = ["lora=default", "lora.rank=4"] if adapters == "lora" else []
    config = typed(
        "train",
        "model=local",
        f"model.path={folder}",
        f"data.path={question_file}",
        f"paths.root_dir={tmp_path}",
        *TRAINING,
        *lora,
        *ALWAYS,
    )
    trained = train(config)
    before, after = (
        load_policy(typed("evaluate", "model=local", f"model.path={path}").model)
        for path in (folder, trained.path("model"))
    )
    changes = [
        (new - old).abs().max().item()
        for old, new in zip(before.model.parameters(), after.model.parameters(), strict=True)
    ]
    assert 0 < max(changes) < 0.01
    assert after.eos_token_ids == before.eos_token_ids
    assert after.tokenizer.chat_template == before.tokenizer.chat_template
    letters = predictions(trained.path("model"), question_file, tmp_path)
    assert letters == predictions(trained.path("model"), question_file, tmp_path, "force=true")
