"""The picture of where the seconds of a training step went."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest
from matplotlib.image import imread

from medssr.reports.figures import draw_step_times


def run_of(num_steps: int, **parts: float) -> SimpleNamespace:
    curves = {name.replace("_", "/", 1): pd.Series([seconds] * num_steps) for name, seconds in parts.items()}
    return SimpleNamespace(name="mine", curves={"stage1": curves, "sft": {}})


def shares(path) -> dict[str, float]:
    """Fractions of the picture in the colours of rollout, forward pass and the rest."""
    pixels = imread(path)[..., :3]
    colours = {"rollout": "1f3b57", "forward": "3f7f93", "rest": "e9e9e9"}
    found = {}
    for name, code in colours.items():
        rgb = [int(code[place : place + 2], 16) / 255 for place in (0, 2, 4)]
        found[name] = float((abs(pixels - rgb) < 0.01).all(axis=-1).mean())
    return found


@pytest.mark.slow
@pytest.mark.parametrize("num_steps", [1, 30])
def test_areas_are_as_the_seconds(tmp_path, num_steps):
    run = run_of(num_steps, time_step=8.0, time_rollout=4.0, time_forward=2.0, time_sync=0.0)
    (figure,) = draw_step_times([run], tmp_path)
    assert figure.title == "stage1"
    areas = shares(tmp_path / figure.file)
    assert areas["rollout"] / areas["forward"] == pytest.approx(2, rel=0.1)
    assert areas["rest"] / areas["forward"] == pytest.approx(1, rel=0.1)


@pytest.mark.slow
def test_the_title_has_the_median_speed(tmp_path):
    times = {"time_step": 8.0, "time_rollout": 4.0, "time_tokens_per_second": 1234.4}
    (figure,) = draw_step_times([run_of(3, **times)], tmp_path)
    assert figure.title == "stage1: 1,234 tokens a second"
    (figure,) = draw_step_times([run_of(3, **times, time_mfu=0.4123)], tmp_path)
    assert figure.title == "stage1: 1,234 tokens a second, MFU of the update 41.2%"


def test_a_stage_without_times_has_no_picture(tmp_path):
    assert list(draw_step_times([run_of(3, train_reward=1.0)], tmp_path)) == []
