from __future__ import annotations

from io import BytesIO

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

from medssr.reports.colours import DISTINCT
from medssr.reports.plots import new_figure


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
