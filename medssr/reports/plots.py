"""The pictures of the report: PNG files that stay readable for one run and for a dozen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medssr.reports.curves import Curve
from medssr.reports.runs import AgreementBand
from medssr.statistics import wilson_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 4.6  # inches: its text stays legible on a phone
_DPI = 180
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#b8860b", "#7a3e9d", "#444444")
GRID = "#e4e4e4"
_LINE_STYLES = ("-", "--", ":")


def plot_rewards(curves: Mapping[str, Curve], path: Path) -> None:
    """Draws the reward over the steps of one stage for each run: thin as logged, thick as a running mean."""
    longest = max(len(curve.steps) for curve in curves.values())
    window = max(1, longest // 12)
    num_legend_rows = len(curves) if len(curves) > 1 else 0
    with _axes(path, height=2.9 + 0.19 * num_legend_rows) as axes:
        for number, (name, curve) in enumerate(curves.items()):
            colour = COLOURS[number % len(COLOURS)]
            style = _LINE_STYLES[number // len(COLOURS) % len(_LINE_STYLES)]
            if window > 1:
                axes.plot(curve.steps, curve.values, color=colour, linewidth=0.6, alpha=0.9 / (2 + len(curves)))
            smooth = running_mean(curve.values, window)
            axes.plot(curve.steps, smooth, style, color=colour, linewidth=1.5, label=shorten(name, 52))
            if len(curve.steps) == 1:
                axes.plot(curve.steps, smooth, "o", color=colour, markersize=4)
        axes.set_xlabel("optimiser step")
        axes.set_ylabel("mean reward")
        axes.grid(color=GRID, linewidth=0.8)
        axes.set_title(f"thick: mean of up to {window} steps" if window > 1 else "as logged")
        if num_legend_rows:
            axes.figure.legend(loc="outside lower left", frameon=False, fontsize=8, handlelength=2.4)


def plot_label_calibration(bands: Sequence[AgreementBand], path: Path) -> None:
    """Draws label accuracy with its Wilson interval against agreement, with n at each band.

    On the diagonal a label is right as often as the votes agree on it.
    """
    known = [(band, band.accuracy) for band in bands if band.accuracy is not None and band.n > 0]
    with _axes(path, height=3.4, width=4.2) as axes:
        axes.plot([0, 1], [0, 1], color="#999999", linestyle=":", linewidth=1)
        for band, accuracy in known:
            middle = (band.low + band.high) / 2
            ends = wilson_interval(round(accuracy * band.n), band.n)
            axes.plot([middle, middle], [ends.low, ends.high], color=COLOURS[0], linewidth=1.4)
            axes.plot([band.low, band.high], [accuracy, accuracy], color=COLOURS[0], linewidth=2.6)
            axes.annotate(
                str(band.n),
                (middle, 1.02),
                xycoords=("data", "axes fraction"),
                ha="center",
                fontsize=8,
                color="#444444",
            )
        lowest = min((band.low for band, _ in known), default=0.0)
        axes.set_xlim(max(0.0, lowest - 0.05), 1.01)
        axes.set_ylim(-0.02, 1.02)
        axes.annotate("n =", (-0.02, 1.02), xycoords="axes fraction", ha="right", fontsize=8, color="#444444")
        axes.grid(color=GRID, linewidth=0.8)
        axes.set_xlabel("agreement (votes for the label / valid votes)")
        axes.set_ylabel("share of labels that are right")


def running_mean(values: Sequence[float], window: int) -> NDArray[np.float64]:
    """Returns, for each place, the mean of the last `window` values up to it (fewer at the start).

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


@contextmanager
def new_figure(path: Path, *, height: float, width: float = WIDTH) -> Iterator[Figure]:
    """Yields a new figure, sizes in inches, and writes it to `path` when the drawing is done."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {
        "font.size": 9,
        "text.parse_math": False,  # names are text, a "$" in one is no formula
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


@contextmanager
def _axes(path: Path, *, height: float, width: float = WIDTH) -> Iterator[Axes]:
    """Yields the axes of a new figure."""
    with new_figure(path, height=height, width=width) as figure:
        yield figure.add_subplot()
