from __future__ import annotations

import itertools
import math
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb
from PIL import Image

from medssr.reports.colours import DISTINCT, axis_colours, axis_scale
from medssr.reports.groups import SweepAxis
from medssr.reports.plots import new_figure, plot_accuracy

pytestmark = pytest.mark.slow


def test_a_written_figure_has_the_colours_of_the_drawn_one_in_fewer_bytes(tmp_path):
    with new_figure(tmp_path / "figure.png", height=2.5) as figure:
        axes = figure.add_subplot()
        axes.barh([f"model {number}" for number in range(len(DISTINCT))], 1.0, color=DISTINCT)
        axes.plot([0, 1], [0, len(DISTINCT)], color="#555555")
        axes.set_xlabel("accuracy, 95% interval")
    drawn = figure._repr_png_()
    written = (tmp_path / "figure.png").read_bytes()
    assert len(written) < len(drawn) / 2
    before, after = (np.asarray(Image.open(BytesIO(png)).convert("RGB")).astype(int) for png in (drawn, written))
    changes = np.abs(before - after).max(axis=-1)
    assert np.percentile(changes[(before < 255).any(axis=-1)], 99) <= 40  # of 255, at the edges of letters
    for colour in ("#ffffff", *DISTINCT):
        is_solid = (before == np.round(255 * np.array(to_rgb(colour)))).all(axis=-1)
        assert is_solid.sum() > 100
        assert changes[is_solid].max() <= 2, colour


def test_numbers_that_lie_close_together_have_colours_that_can_be_told_apart():
    """Learning rates from 1e-5 to 1e-3: on a linear scale the first three had one colour."""
    rates = [1e-5, 3e-5, 1e-4, 2e-4, 3e-4, 5e-4, 1e-3]
    axis = SweepAxis("optim.optimizer.lr", "lr", {f"lr={rate:g}": rate for rate in rates}, {})
    colours = [to_rgb(colour) for colour in axis_colours(axis).values()]
    assert min(math.dist(first, second) for first, second in itertools.pairwise(colours)) > 0.1


def test_the_bar_of_colours_shows_the_colours_of_the_groups():
    axis = SweepAxis("grpo.beta", "beta", {"a": 0.0, "b": 0.04}, {})
    scale = axis_scale(axis)
    assert [to_hex(scale.to_rgba(value)) for value in (0.0, 0.04)] == list(axis_colours(axis).values())
    assert scale.get_clim() == (0.0, 0.04)


def test_a_long_name_of_a_run_takes_no_room_from_the_axes():
    def width(name):
        rows = [
            {"run": f"{name}{run}", "model": model, "accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6}
            | {"invalid_rate": 0.0, "always_a_accuracy": 0.25, "num_questions": 100}
            for run in (1, 2)
            for model in ("base", "trained")
        ]
        figure = plot_accuracy(pd.DataFrame(rows), (0.2, 0.7), ["#000000"] * 4)
        figure.canvas.draw()
        return figure.axes[0].get_position().width

    assert width("optim.optimizer.lr=0.0001,schedule=selfsup_only,seed=") == pytest.approx(width("a"), rel=0.01)
