"""Curves of what a stage logged."""

from __future__ import annotations

import math

from medssr.reports.metrics import read_curves


def test_rewards_that_are_not_finite_are_kept_beside_the_others(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,train/reward\n0,0.5\n1,nan\n2,inf\n3,1\n", encoding="utf-8")
    (curve,) = read_curves(path).values()
    assert list(curve.index) == [0, 1, 2, 3]
    assert math.isnan(curve[1])
    assert list(curve[[0, 2, 3]]) == [0.5, math.inf, 1]


def test_a_metric_has_the_steps_at_which_it_was_logged(tmp_path):
    path = tmp_path / "metrics.csv"
    rows = ["step,val/probe/accuracy,train/reward,train/lr", "0,0.25,,", "0,,0.5,1", "1,,0.75,1", "2,0.5,,"]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    curves = read_curves(path)
    assert {name: curve.to_dict() for name, curve in curves.items()} == {
        "train/reward": {0: 0.5, 1: 0.75},
        "val/probe/accuracy": {0: 0.25, 2: 0.5},
    }
