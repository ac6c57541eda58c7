"""Traces of updates: which steps, what is in the files, and a disk that is full."""

from __future__ import annotations

import gzip
import json
from functools import partial

import pytest
from support.grpo_runs import EvenTokens, fit, make_module
from support.helpers import grpo_config
from torch.optim import SGD

from medssr.training.trace import UpdateTrace


def steps(folder, num_steps):
    """The steps of a training that are traced."""
    trace = UpdateTrace(folder)
    for step in range(num_steps):
        with trace.update(step, is_last=step + 1 == num_steps):
            pass
    return sorted(file.name for file in folder.glob("*")) if folder.exists() else []


@pytest.mark.parametrize(("num_steps", "traced"), [(1, [0]), (2, [1]), (3, [1, 2]), (9, [1, 2])])
def test_the_first_updates_but_one_are_traced(tmp_path, num_steps, traced):
    assert steps(tmp_path / "traces", num_steps) == [f"step_{step:07d}_rank_0.json.gz" for step in traced]


@pytest.mark.slow
def test_a_trace_has_the_parts_of_the_update_and_not_the_rollout(policy, tmp_path):
    config = grpo_config(num_steps=2)
    module = make_module(policy, config, EvenTokens(), partial(SGD, lr=1e-3))
    module.trace = UpdateTrace(tmp_path / "traces")
    fit(policy, tmp_path, config, module=module)
    (file,) = (tmp_path / "traces").iterdir()
    with gzip.open(file, "rt", encoding="utf-8") as stream:
        names = {event.get("name") for event in json.load(stream)["traceEvents"]}
    assert {"forward", "backward", "optimizer", "sync", "aten::mm"} <= names
    assert "rollout" not in names


def test_a_trace_that_cannot_be_written_ends_nothing(tmp_path, caplog):
    (tmp_path / "traces").write_text("no folder", encoding="utf-8")
    with UpdateTrace(tmp_path / "traces").update(0, is_last=True):
        pass
    assert "training continues" in caplog.text
