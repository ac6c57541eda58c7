"""What a run has cost: hours of GPUs and of machines without one, and the tokens that it trained on."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medssr.reports.runs import Run


@dataclass(frozen=True, slots=True)
class RunCost:
    """The cost of all steps of a run, those that it shares with other runs included; None where it is not known.

    Attributes:
        gpu_hours: Hours times GPUs of the steps that ran on GPUs.
        cpu_hours: Hours of the steps that ran on none.
        train_tokens: Prompt and completion tokens of training.
    """

    gpu_hours: float | None
    cpu_hours: float | None
    train_tokens: float | None

    def summary(self) -> dict[str, float]:
        """Returns what is known of it as metrics."""
        return {f"cost/{name}": value for name, value in asdict(self).items() if value is not None}


def run_cost(run: Run) -> RunCost:
    """Returns the cost of a run, by the manifests of its steps and the metrics of its training.

    A step's manifest counts the seconds of its last start alone; training counts those of all steps, so that the longer
    of the two is taken. A step whose manifest is not there makes the hours unknown.
    """
    hours: dict[bool, float] = {True: 0.0, False: 0.0}
    metrics = [run.folder / stage.metrics_file for stage in run.record.training]
    folders = {run.folder / place: 0.0 for place in run.record.artifacts.values()}
    tokens = 0.0
    for file in metrics:
        seconds, trained = _training(file)
        folders[file.parent] = seconds
        tokens += trained
    is_known = bool(folders)
    for folder, least in folders.items():
        manifest = _manifest(folder)
        if manifest is None:
            is_known = False
            continue
        gpus = len(manifest.get("hardware", {}).get("gpus", []))
        hours[gpus > 0] += max(manifest["seconds"], least) / 3600 * max(gpus, 1)
    return RunCost(hours[True] if is_known else None, hours[False] if is_known else None, tokens if metrics else None)


def _training(file: Path) -> tuple[float, float]:
    """Returns seconds and tokens of a stage."""
    seconds = tokens = 0.0
    with file.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            seconds += _number(row, "time/step") + _number(row, "time/probe")
            tokens += _number(row, "train/num_tokens")
    return seconds, tokens


def _number(row: dict[str, str], column: str) -> float:
    value = float(row[column]) if row.get(column) else 0.0
    return value if math.isfinite(value) else 0.0


def _manifest(folder: Path) -> dict[str, Any] | None:
    file = folder / "manifest.json"
    if not file.is_file():
        return None
    content = json.loads(file.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else None
