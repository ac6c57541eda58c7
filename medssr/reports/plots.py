"""What all plots share: size, colours and style, labels of limited length, running means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#b8860b", "#7a3e9d", "#444444")
GRID = "#e4e4e4"
_WIDTH = 4.6  # inches: its text stays legible on a phone
_DPI = 180


@contextmanager
def new_figure(path: Path, *, height: float, width: float = _WIDTH) -> Iterator[Figure]:
    """Yields a new figure, sizes in inches, and writes it to `path` when the drawing is done."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {
        "font.size": 9,
        "text.parse_math": False,  # a "$" in a name starts no formula
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 9,
        "axes.titlelocation": "left",
        "axes.axisbelow": True,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        figure.savefig(path, dpi=_DPI, metadata={"Software": None})


def draw_interval(
    axes: Axes, x: Sequence[float], y: Sequence[float], colour: Any, *, linewidth: float = 1.6, alpha: float = 1.0
) -> None:
    """Draws a line between the two ends of an interval."""
    axes.plot(x, y, color=colour, linewidth=linewidth, alpha=alpha, solid_capstyle="butt")


def running_mean(values: Sequence[float], window: int) -> NDArray[np.float64]:
    """Returns, for each index, the mean of the last `window` values up to it (fewer at the start).

    Example:
        >>> running_mean([0.0, 1.0, 1.0, 0.0], 2).tolist()
        [0.0, 0.5, 1.0, 0.5]
    """
    totals = np.concatenate([[0.0], np.cumsum(values)])  # [N + 1]
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    means: NDArray[np.float64] = (totals[ends] - totals[starts]) / (ends - starts)
    return means


def shorten(text: str, length: int) -> str:
    """Returns the text, its middle left out where it is longer than `length`.

    Example:
        >>> shorten("model=tiny_llama,seed=3", 12)
        'model=…eed=3'
    """
    text = " ".join(text.split())
    if len(text) <= length:
        return text
    head = length // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"
