"""Two processes train like one with rewards of groups: votes, statistics, weights, sources, history, selection."""

from __future__ import annotations

import csv

import pytest
import torch
from support.helpers import random_policy, toy_question
from support.trainers import finish, start, trainers

from medssr.questions import write_questions

pytestmark = pytest.mark.slow


def test_two_processes_end_with_the_metrics_and_the_history_of_one(tmp_path):
    random_policy("qwen3").save(tmp_path / "model")
    write_questions(tmp_path / "labelled.jsonl", [toy_question(number, answer="B") for number in range(2)])
    write_questions(tmp_path / "unlabelled.jsonl", [toy_question(number, answer=None) for number in range(4)])
    overrides = [
        f"model.path={tmp_path}/model",
        f"data.path={tmp_path}/labelled.jsonl",
        "data.rewards=[label_match]",
        f"+data.further={{free: {{path: {tmp_path}/unlabelled.jsonl, num_prompts: 3, "
        "rewards: [vote, certainty, peers]}}",
        "+reward.vote={_target_: medssr.rewards.restrain.SpreadVotes, weight: 1.0, center: 1.0, width: 0.5, "
        "min_share: 0.3, penalty: 0.5, uses_agreement: false}",
        "+reward.certainty={_target_: medssr.rewards.certainty.SelfCertainty, weight: 0.1}",
        "rollout._target_=support.helpers.LetterEngine",
        "~rollout.max_batch_size",
        *("grpo.num_steps=3", "grpo.num_prompts_per_step=4", "grpo.num_generations=4", "grpo.shuffle_options=false"),
        "grpo.scale_rewards=none",
        # The teacher's answers to the other view of a question, the KL to the teacher, and completions drawn to it.
        *("+reward.peers={_target_: medssr.rewards.peer_vote.PeerVote, weight: 0.5}", "grpo.has_permuted_view=true"),
        *("grpo/teacher=moving_average", "grpo.teacher.decay=0.5", "grpo.beta=0.1"),
        *("grpo/selection=trapo", "grpo.selection.num_warmup_visits=0", "grpo.selection.top_share=0.5"),
        *("grpo/distillation=gated", "grpo.distillation.min_reward=0.5"),
    ]
    found = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        made = finish(start("train", *overrides, *trainers("ddp" if number == 2 else None), folder=folder))
        with (made / "metrics.csv").open(encoding="utf-8") as stream:
            rows = [
                {name: float(value) for name, value in row.items() if value and not name.startswith("time/")}
                for row in csv.DictReader(stream)
            ]
        (checkpoint,) = (made / "checkpoints").glob("*3.ckpt")
        history = torch.load(checkpoint, weights_only=True)["question_history"]
        found.append((rows, history))
    (rows_of_one, history_of_one), (rows_of_two, history_of_two) = found
    assert history_of_one == history_of_two
    assert sum(map(len, history_of_one["visits"].values())) == 24  # four questions of three steps in two views
    for one, two in zip(rows_of_one, rows_of_two, strict=True):
        assert two == pytest.approx(one, rel=1e-3, abs=1e-5)
