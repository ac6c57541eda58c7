"""Where the questions of a stage come from: one file or several at a set ratio, each with its own rewards."""

from __future__ import annotations

import csv

import pytest
from support.helpers import random_policy, toy_question, typed

from medssr.commands.train import train
from medssr.errors import InputError
from medssr.questions import write_questions
from medssr.training.question_sources import kept, read_sources, reward_names

pytestmark = pytest.mark.slow

TWO = [
    "data.path=a.jsonl",
    "data.rewards=[label_match]",
    "reward=label_match",
    "+reward.majority_vote={_target_: medssr.rewards.votes.MajorityVote, weight: 1.0, num_trained: null}",
]


def further(path, num_prompts=3, rewards="[majority_vote]"):
    return f"+data.further={{synthetic: {{path: {path}, num_prompts: {num_prompts}, rewards: {rewards}}}}}"


@pytest.fixture
def files(tmp_path):
    write_questions(tmp_path / "a.jsonl", [toy_question(number) for number in range(3)])
    write_questions(tmp_path / "b.jsonl", [toy_question(number, answer=None) for number in range(2)])
    return tmp_path


def test_each_file_is_read_for_its_own_rewards(files):
    config = typed("train", *TWO, f"data.path={files}/a.jsonl", further(files / "b.jsonl"))
    sources = read_sources(config.data, config.reward)
    assert [(name, source.num_prompts, len(source.questions)) for name, source in sources.items()] == [
        ("", None, 3),
        ("synthetic", 3, 2),
    ]
    names = reward_names(sources)
    assert names["q0"] == ["label_match"]
    assert names["synthetic/q0"] == ["majority_vote"]  # the ids of both files are the same
    assert [question.id for question in kept(sources, lambda rows: rows[1:])["synthetic"].questions] == ["synthetic/q1"]
    unlabelled = typed("train", *TWO, f"data.path={files}/a.jsonl", further(files / "b.jsonl", rewards="null"))
    with pytest.raises(InputError, match=r"b\.jsonl, line 1.*has no label"):
        read_sources(unlabelled.data, unlabelled.reward)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.rewards=[other]"], r"data\.rewards: other; the rewards are label_match, majority_vote"),
        (["data.rewards=[]"], r"data\.rewards: is empty"),
        ([further("b", rewards="[other]")], r"data\.further\.synthetic\.rewards: other"),
        ([further("b", num_prompts=0)], r"data\.further\.synthetic\.num_prompts: 0; at least 1"),
        ([further("b", num_prompts=32)], r"data\.further: 32 of the 32 questions of a step"),
        ([further("b"), "grpo.dynamic_sampling_rounds=1"], r"grpo\.dynamic_sampling_rounds: 1; .*ratio"),
        (["+data.further={a/b: {path: b, num_prompts: 1}}"], r"data\.further: a/b"),
        (["+reward.other.num_trained=4"], r"reward\.other: has settings but no _target_.*reward=other"),
    ],
)
def test_what_cannot_be_is_refused(overrides, message):
    with pytest.raises(InputError, match=message):
        typed("train", *TWO, *overrides)


def test_a_stage_trains_on_both_and_its_fingerprint_has_both_files(files):
    random_policy("qwen3").save(files / "model")

    def run():
        return train(
            typed(
                "train",
                *TWO,
                f"data.path={files}/a.jsonl",
                further(files / "b.jsonl"),
                f"paths.root_dir={files}/runs",
                f"model.path={files}/model",
                *("extras.progress_bar=false", "extras.num_threads=1", "trainer=cpu", "logger=csv"),
                *("grpo.num_steps=1", "grpo.num_prompts_per_step=4", "grpo.num_generations=2", "grpo.max_new_tokens=4"),
            )
        )

    made = run()
    with made.path("metrics.csv").open(encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    assert row["train/reward/label_match"]
    assert row["train/reward/majority_vote"]
    assert made.manifest["counts"]["num_questions"] == 5
    assert any("further" in key for key in made.manifest["inputs"])
