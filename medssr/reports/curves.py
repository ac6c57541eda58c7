"""Curves over the steps of a training stage, from what it logged as CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medssr.errors import InputError

REWARD = "train/reward"
# The metrics that are drawn over training, by their columns, and what their axes say.
DRAWN = {
    REWARD: "mean reward",
    "val/probe/accuracy": "held-out accuracy",
    "train/entropy": "entropy, nats a token",
    "train/agreement": "agreement in a group",
}


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric by training step, where it was logged; `num_skipped` steps logged a number that is not finite."""

    steps: list[int]
    values: list[float]
    num_skipped: int


def read_curves(path: Path) -> dict[str, Curve]:
    """Returns the curves of a CSV of metrics by their columns: the reward's, and of `DRAWN` those that it has.

    Raises:
        InputError: When the file is absent, has no column for step or reward, or a cell is no number.
    """
    if not path.is_file():
        raise InputError.at(path, "there is no such file; a stage of training names it as its metrics.")
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        columns = reader.fieldnames or []
        for name in ("step", REWARD):
            if name not in columns:
                raise InputError.at(path, f"is no column; the columns are {', '.join(columns)}.", line=1, field=name)
        curves = {name: Curve([], [], 0) for name in DRAWN if name in columns}
        num_skipped = dict.fromkeys(curves, 0)
        for row in reader:
            for name, curve in curves.items():
                if not row[name]:  # the row is of other metrics
                    continue
                value = _number(row, name, path, reader.line_num)
                if not math.isfinite(value):
                    num_skipped[name] += 1
                    continue
                curve.steps.append(int(_number(row, "step", path, reader.line_num)))
                curve.values.append(value)
    return {name: Curve(curve.steps, curve.values, num_skipped[name]) for name, curve in curves.items()}


def mean_curve(curves: Sequence[Curve]) -> tuple[list[int], list[float]]:
    """Returns the steps that any of the curves has, with the mean of those that have it.

    Example:
        >>> mean_curve([Curve([0, 1], [0.0, 1.0], 0), Curve([1], [0.0], 0)])
        ([0, 1], [0.0, 0.5])
    """
    found: dict[int, list[float]] = {}
    for curve in curves:
        for step, value in zip(curve.steps, curve.values, strict=True):
            found.setdefault(step, []).append(value)
    steps = sorted(found)
    return steps, [sum(found[step]) / len(found[step]) for step in steps]


def _number(row: dict[str, str], column: str, path: Path, line: int) -> float:
    try:
        return float(row[column])
    except (TypeError, ValueError) as error:
        raise InputError.at(path, f"found {row[column]!r}, expected a number.", line=line, field=column) from error
