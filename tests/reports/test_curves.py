"""Curves of what a stage logged."""

from __future__ import annotations

from medssr.reports.curves import Curve, read_curves


def test_rewards_that_are_not_finite_are_counted_and_left_out(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,train/reward\n0,0.5\n1,nan\n2,inf\n3,1\n", encoding="utf-8")
    assert read_curves(path) == {"train/reward": Curve([0, 3], [0.5, 1.0], 2)}


def test_a_metric_has_the_steps_at_which_it_was_logged(tmp_path):
    path = tmp_path / "metrics.csv"
    rows = ["step,val/probe/accuracy,train/reward,train/lr", "0,0.25,,", "0,,0.5,1", "1,,0.75,1", "2,0.5,,"]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    curves = read_curves(path)
    assert curves == {
        "train/reward": Curve([0, 1], [0.5, 0.75], 0),
        "val/probe/accuracy": Curve([0, 2], [0.25, 0.5], 0),
    }
