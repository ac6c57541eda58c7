"""Where the seconds of a step go."""

from __future__ import annotations

import csv
import time
from functools import partial

import pytest
import torch
from support.grpo_runs import EvenTokens, fit, grpo_config, make_module
from torch.optim import SGD

from medssr.models.architecture import Architecture
from medssr.models.utilisation import Utilisation, update_flops
from medssr.tracking import step_times
from medssr.tracking.step_times import PARTS, StepTimes


def test_an_inner_part_is_not_counted_for_the_outer_one(monkeypatch):
    now = 0.0
    monkeypatch.setattr(step_times, "_clock", lambda: now)
    times = StepTimes()
    with times.part("reward"):  # outside a step
        now = 50.0
    times.start(torch.device("cpu"))
    now += 1
    with times.part("rollout"):
        now += 10
        with times.part("reward"):
            now += 3
        now += 5
    now += 2
    with times.part("rollout"):
        now += 4
    expected = dict.fromkeys(PARTS, 0.0) | {"rollout": 19.0, "reward": 3.0, "step": 25.0}
    assert times.stop() == expected
    times.start(torch.device("cpu"))
    assert times.stop()["step"] == 0


def test_an_error_ends_its_part(monkeypatch):
    now = 0.0
    monkeypatch.setattr(step_times, "_clock", lambda: now)
    times = StepTimes()
    times.start(torch.device("cpu"))
    with pytest.raises(ValueError, match="no reward"), times.part("reward"):
        raise ValueError("no reward")
    now += 2
    assert times.stop()["reward"] == 0


@pytest.mark.slow
def test_the_parts_of_a_training_step_are_nearly_all_of_it(policy, tmp_path, monkeypatch):
    """By the process's own time; the best of three steps, because garbage may be collected between any two lines."""
    monkeypatch.setattr(step_times, "_clock", time.process_time)
    fit(policy, tmp_path, grpo_config(num_steps=4, max_new_tokens=64))
    (file,) = tmp_path.rglob("metrics.csv")
    with file.open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["time/step"]]
    assert len(rows) == 4
    shares = []
    for row in rows[1:]:  # the first also allocates
        seconds = {name: float(row[f"time/{name}"]) for name in PARTS}
        assert all(seconds[name] > 0 for name in PARTS if name != "sync")
        assert float(row["time/wait"]) == 0
        expected = float(row["train/num_tokens"]) / float(row["time/step"])
        assert float(row["time/tokens_per_second"]) == pytest.approx(expected)
        shares.append(sum(seconds.values()) / float(row["time/step"]))
    assert 0.95 <= max(shares) <= 1.0001


@pytest.mark.slow
def test_the_utilisation_of_a_step_is_that_of_its_update(policy, tmp_path, monkeypatch):
    model = Architecture(100, 10, 2, 2, 2, 5, 20, 0, 0, True, False)
    config = grpo_config(num_steps=1, num_iterations=2)
    module = make_module(policy, config, EvenTokens(), partial(SGD, lr=1e-3))
    module.utilisation = Utilisation(model, None, peak_flops=1e9)
    updates, update = [], module.update
    monkeypatch.setattr(
        module, "update", lambda step, minibatches: updates.append(minibatches) or update(step, minibatches)
    )
    fit(policy, tmp_path, config, module=module)
    samples = [sample for minibatch in updates[0] for sample in minibatch.samples]
    prompts = {sample.question_id: len(sample.prompt_ids) for sample in samples}
    assert len(prompts) < len(samples)
    flops = update_flops(
        model, prompts.values(), [(len(sample.prompt_ids), len(sample.completion_ids)) for sample in samples]
    )
    with (tmp_path / "metrics.csv").open(encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    seconds = float(row["time/forward"]) + float(row["time/backward"])
    assert float(row["time/mfu"]) == pytest.approx(2 * flops / (seconds * 1e9))
