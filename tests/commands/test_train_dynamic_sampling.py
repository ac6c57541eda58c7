"""Tests dynamic sampling: steps roll out further questions to replace groups with zero reward variance."""

from __future__ import annotations

import json

import pytest
from support.toy_stage import ToyStage, column, stop_before, weights

pytestmark = pytest.mark.slow


@pytest.fixture
def stage(tmp_path):
    """Trains on twelve questions, of which those with an odd number have zero reward variance."""
    settings = {"num_steps": 4, "num_prompts_per_step": 4, "num_generations": 4, "max_new_tokens": 6}
    overrides = [f"grpo.{name}={value}" for name, value in settings.items()]
    overrides += ["callbacks.checkpoint.every_num_steps=1", "callbacks.completions.every_num_steps=1"]
    rollout = "support.planned_engine.SignalForSome"
    return ToyStage(tmp_path, 12, *overrides, "callbacks.completions.num_groups=100", rollout=rollout)


def asked(artifact):
    """Returns the questions of each step, in order."""
    steps = []
    for path in sorted(artifact.path("completions").iterdir()):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        steps.append(list(dict.fromkeys(int(row["question_id"][1:]) for row in rows)))
    return steps


def test_a_step_asks_further_until_all_its_places_have_signal(stage):
    plain, refilled = asked(stage("plain")), asked(stage("refilled", "grpo.dynamic_sampling_rounds=8"))
    for before, after in zip(plain, refilled, strict=True):
        assert after[:4] == before
        assert sum(number % 2 == 0 for number in after) == 4
        assert after[-1] % 2 == 0 or len(before) == len(after)  # no more questions than needed
    assert column(stage("refilled", "grpo.dynamic_sampling_rounds=8"), "train/dynamic_sampling_rate") == [
        len(after) / 4 - 1 for after in refilled
    ]


def test_refills_have_a_cap(stage):
    made = stage("run", "grpo.dynamic_sampling_rounds=1")
    for first, questions in zip(asked(stage("plain")), asked(made), strict=True):
        num_missing = sum(number % 2 for number in first)
        assert len(questions) <= 4 + num_missing
    assert set(column(stage("plain"), "train/dynamic_sampling_rate")) == {0}


def test_a_resumed_run_asks_the_same_and_ends_with_the_same_weights(stage):
    whole = stage("whole", "grpo.dynamic_sampling_rounds=2")
    with pytest.raises(ConnectionAbortedError):
        stage("stopped", "grpo.dynamic_sampling_rounds=2", stop_before(2))
    resumed = stage("stopped", "grpo.dynamic_sampling_rounds=2")
    assert asked(resumed) == asked(whole)
    assert weights(resumed.path("model")) == weights(whole.path("model"))
