"""The figures of the study: accuracy against sampled tokens, and reward accuracy over the steps of stage 1."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from measures import WINDOW, Measured
from tables import by_method, matrix, slice_columns

from medssr.reports.plots import new_figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#b8860b", "#7a3e9d", "#444444")
STYLES = ("-", "--", ":")
LEGEND_ROW = 0.17  # inches


def style(number: int) -> dict[str, str]:
    """Returns a colour and a line that no other of 24 methods has."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": STYLES[number // len(COLOURS) % len(STYLES)]}


def plot_tokens(measured: Sequence[Measured], asked: Collection[tuple[str, str]], path: Path) -> None:
    """Draws accuracy on rare diseases against sampled tokens: before training, after stage 1 and at the end."""
    rare = slice_columns(measured[0].questions, asked)["rare"]
    groups = by_method(measured)
    ends = {name: matrix(runs, rare).mean() for name, runs in groups.items()}
    numbers = {name: number for number, name in enumerate(groups)}
    with new_figure(path, height=3.6 + LEGEND_ROW * len(groups)) as figure:
        axes = figure.add_subplot()
        for name in sorted(groups, key=lambda name: -ends[name]):
            runs = groups[name]
            models = list(runs[0].accuracies)
            tokens = [np.mean([run.sampled_tokens[model] for run in runs]) / 1e6 for model in models]
            accuracies = [matrix(runs, rare, model).mean() for model in models]
            axes.plot(tokens, accuracies, marker="o", markersize=3, linewidth=1.2, label=name, **style(numbers[name]))
        axes.set_xlabel("million sampled tokens, votes included")
        axes.set_ylabel("accuracy, rare diseases")
        axes.grid(color="#e4e4e4", linewidth=0.8)
        figure.legend(loc="outside lower left", frameon=False, fontsize=8, ncols=2)


def plot_reward_accuracy(measured: Sequence[Measured], path: Path) -> None:
    """Draws the reward accuracy and the label accuracy of stage 1 over its steps, as running means over the seeds."""
    metrics = {"train/reward_accuracy": "reward accuracy", "train/label_accuracy": "label accuracy"}
    groups = by_method(measured)
    with new_figure(path, height=4.6 + LEGEND_ROW * len(groups) / 2) as figure:
        panels = figure.subplots(len(metrics), 1, sharex=True)
        for axes, (metric, label) in zip(panels, metrics.items(), strict=True):
            for number, (name, runs) in enumerate(groups.items()):
                curves = [run.curves[metric] for run in runs if metric in run.curves]
                if curves:
                    mean = pd.concat(curves).groupby(level=0).mean().rolling(WINDOW, min_periods=1).mean()
                    axes.plot(mean.index, mean, linewidth=1.3, label=name, **style(number))
            axes.set_ylabel(label)
            axes.grid(color="#e4e4e4", linewidth=0.8)
        panels[0].set_title(f"mean of up to {WINDOW} steps")
        panels[-1].set_xlabel("step of stage 1")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", frameon=False, fontsize=8, ncols=2)
