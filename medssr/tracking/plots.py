"""The pictures of the report: PNG files that stay readable for one run and for a dozen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medssr.evaluation.statistics import wilson_interval
from medssr.tracking.runs import AgreementBand, RewardCurve, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH = 4.6  # inches: its text stays legible on a phone
_DPI = 180
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#b8860b", "#7a3e9d", "#444444")
_BASE_COLOUR = "#8a8a8a"
_LINE_STYLES = ("-", "--", ":")


def plot_accuracy(runs: Sequence[Run], benchmark: str, slice_name: str, path: Path) -> None:
    """Draws accuracy with its interval: for each run one group of rows, for each model of the run one row.

    A dotted line marks the accuracy of always answering A where all runs agree on it.
    """
    models = list(dict.fromkeys(model.name for run in runs for model in run.record.models))
    rows, headers, bottom = [], [], 0.0
    for run in runs:
        headers.append((bottom, shorten(run.name, 44)))
        for model in run.record.models:
            found = run.slice_score(model.name, benchmark, slice_name)
            if found is not None:
                bottom += 1
                rows.append((bottom, model.name, found))
        bottom += 1.25
    with _axes(path, height=0.9 + 0.185 * bottom) as axes:
        for y, model_name, found in rows:
            estimate, colour = found.accuracy, _model_colour(models, model_name)
            axes.plot([estimate.low, estimate.high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
            axes.plot([estimate.value], [y], "o", color=colour, markersize=4.5)
        for y, name in headers:
            text = axes.text(0.01, y + 0.05, name, transform=axes.get_yaxis_transform(), va="center", weight="bold")
            text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.8})
        baselines = {found.always_a.value for _, _, found in rows}
        if len(baselines) == 1:
            axes.axvline(baselines.pop(), color="#555555", linestyle=":", linewidth=1, label="always answer A")
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False, fontsize=8, borderaxespad=0)
        sizes = sorted({found.num_questions for _, _, found in rows})
        axes.set_yticks([y for y, _, _ in rows], [shorten(model_name, 22) for _, model_name, _ in rows])
        axes.set_xlim(*_accuracy_range(runs, benchmark))
        axes.set_ylim(bottom - 0.5, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="#e4e4e4", linewidth=0.8)
        axes.set_xlabel(f"accuracy, 95% interval, {_range_text(sizes)} questions")


def plot_rewards(curves: Mapping[str, RewardCurve], path: Path) -> None:
    """Draws the reward over the steps of one stage for each run: thin as logged, thick as a running mean."""
    longest = max(len(curve.steps) for curve in curves.values())
    window = max(1, longest // 12)
    num_legend_rows = len(curves) if len(curves) > 1 else 0
    with _axes(path, height=2.9 + 0.19 * num_legend_rows) as axes:
        for number, (name, curve) in enumerate(curves.items()):
            colour = _COLOURS[number % len(_COLOURS)]
            style = _LINE_STYLES[number // len(_COLOURS) % len(_LINE_STYLES)]
            if window > 1:
                axes.plot(curve.steps, curve.rewards, color=colour, linewidth=0.6, alpha=0.9 / (2 + len(curves)))
            smooth = running_mean(curve.rewards, window)
            axes.plot(curve.steps, smooth, style, color=colour, linewidth=1.5, label=shorten(name, 52))
            if len(curve.steps) == 1:
                axes.plot(curve.steps, smooth, "o", color=colour, markersize=4)
        axes.set_xlabel("optimiser step")
        axes.set_ylabel("mean reward")
        axes.grid(color="#e9e9e9", linewidth=0.8)
        axes.set_title(f"thick: mean of up to {window} steps" if window > 1 else "as logged")
        if num_legend_rows:
            axes.figure.legend(loc="outside lower left", frameon=False, fontsize=8, handlelength=2.4)


def plot_calibration(bands: Sequence[AgreementBand], path: Path) -> None:
    """Draws label accuracy with its Wilson interval against agreement, with n at each band.

    On the diagonal a label is right as often as the votes agree on it.
    """
    known = [(band, band.accuracy) for band in bands if band.accuracy is not None and band.n > 0]
    with _axes(path, height=3.4, width=4.2) as axes:
        axes.plot([0, 1], [0, 1], color="#999999", linestyle=":", linewidth=1)
        for band, accuracy in known:
            middle = (band.low + band.high) / 2
            ends = wilson_interval(round(accuracy * band.n), band.n)
            axes.plot([middle, middle], [ends.low, ends.high], color=_COLOURS[0], linewidth=1.4)
            axes.plot([band.low, band.high], [accuracy, accuracy], color=_COLOURS[0], linewidth=2.6)
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
        axes.grid(color="#e9e9e9", linewidth=0.8)
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
def _axes(path: Path, *, height: float, width: float = _WIDTH) -> Iterator[Axes]:
    """Yields the axes of a new figure and writes it to `path` when the drawing is done."""
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
        yield figure.add_subplot()
        figure.savefig(path, dpi=_DPI, metadata={"Software": None})


def _accuracy_range(runs: Sequence[Run], benchmark: str) -> tuple[float, float]:
    """Returns one range for all slices of a benchmark, so that pictures side by side have the same scale."""
    slices = [
        found
        for run in runs
        for model in run.record.models
        if benchmark in model.benchmarks
        for found in model.benchmarks[benchmark].slices.values()
    ]
    low = min(min(found.accuracy.low, found.always_a.value) for found in slices)
    high = max(max(found.accuracy.high, found.always_a.value) for found in slices)
    margin = 0.03 * (high - low) + 0.005
    return low - margin, high + margin


def _model_colour(models: Sequence[str], name: str) -> str:
    if name == "base":
        return _BASE_COLOUR
    others = [model for model in models if model != "base"]
    return _COLOURS[others.index(name) % len(_COLOURS)]


def _range_text(sizes: Sequence[int]) -> str:
    return str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
