"""What a training stage logged as CSV: curves over its steps, and the cost of the run that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.errors import InputError
from medssr.manifests import read_artifact
from medssr.utils.outputs import MANIFEST_FILE

if TYPE_CHECKING:
    import pandas as pd

    from medssr.reports.runs import Run

# The metrics that are drawn over training, by their columns, and the labels of their axes.
DRAWN = {
    "train/reward": "mean reward",
    "val/probe/accuracy": "held-out accuracy",
    "train/entropy": "entropy, nats a token",
    "train/agreement": "agreement in a group",
}
# The seconds of a training step and of its parts, in the order in which a step begins with them.
STEP_SECONDS = "time/step"
PART_SECONDS = (
    "time/rollout",
    "time/reward",
    "time/reference",
    "time/forward",
    "time/backward",
    "time/optimizer",
    "time/sync",
    "time/wait",
)
TOKENS_PER_SECOND, MFU = "time/tokens_per_second", "time/mfu"


def read_curves(path: Path) -> dict[str, pd.Series]:
    """Returns the logged values of the metrics that are drawn, each as a series over steps.

    A series holds every value that was logged, those that are not finite too. Which metrics there are depends on the
    method of the stage: supervised fine-tuning has no reward.

    Raises:
        InputError: When the file is absent, has no column for the step, or a cell is no number.
    """
    import pandas as pd

    table = _read_csv(path)
    if "step" not in table.columns:
        columns = ", ".join(table.columns)
        raise InputError.at(path, f"is no column; the columns are {columns}.", line=1, field="step")
    curves = {}
    for name in (*DRAWN, STEP_SECONDS, *PART_SECONDS, TOKENS_PER_SECOND, MFU):
        if name in table.columns:
            rows = table[table[name] != ""]  # the other rows hold other metrics
            steps = [int(step) for step in _numbers(rows["step"], path)]
            curves[name] = pd.Series(_numbers(rows[name], path), index=steps, dtype=float)
    return curves


@dataclass(frozen=True, slots=True)
class RunCost:
    """The cost of all steps of a run, steps shared with other runs included; None where it is not known.

    Attributes:
        gpu_hours: Hours times GPUs of the steps that ran on GPUs.
        cpu_hours: Hours of the steps that ran without a GPU.
        train_tokens: Prompt and completion tokens of training.
    """

    gpu_hours: float | None
    cpu_hours: float | None
    train_tokens: float | None


@dataclass(frozen=True, slots=True)
class StepCost:
    """The cost of a step of a run.

    Attributes:
        name: The step: "synthesize", "train stage1", "evaluate base" ...
        folder: Its artefact.
        seconds: How long it ran; None where it has no manifest.
        num_gpus: On how many GPUs.
        tokens: Prompt and completion tokens that were trained on; None for other steps.
        command: The command that made it; None where it is not recorded.
    """

    name: str
    folder: Path
    seconds: float | None
    num_gpus: int
    tokens: float | None
    command: str | None


def step_costs(run: Run) -> list[StepCost]:
    """Returns the cost of each step of a run, from the manifests of its steps and the metrics of its training.

    A step's manifest counts the seconds of its last start only; the metrics of training count those of all steps, so
    the longer of the two is taken.
    """
    files = {stage.stage: run.folder / stage.metrics_file for stage in run.record.training}
    named = {name: run.folder / path for name, path in run.record.artifacts.items()}
    named |= {f"train {stage}": file.parent for stage, file in files.items()}
    by_folder = {folder: name for name, folder in reversed(named.items())}  # a folder counts once, by its first name
    totals = {file.parent: _totals(file) for file in files.values()}
    costs = []
    for folder, name in reversed(by_folder.items()):
        manifest, total = _manifest(folder), totals.get(folder)
        seconds = None if manifest is None else max(manifest["seconds"], total[0] if total else 0.0)
        num_gpus = 0 if manifest is None else len(manifest.get("hardware", {}).get("gpus", []))
        command = None if manifest is None else manifest.get("command")
        costs.append(StepCost(name, folder, seconds, num_gpus, total[1] if total else None, command))
    return costs


def run_cost(run: Run) -> RunCost:
    """Returns the cost of a run; the hours are unknown when a step has no manifest."""
    costs = step_costs(run)
    tokens = [cost.tokens for cost in costs if cost.tokens is not None]
    seconds = [(cost.seconds, cost.num_gpus) for cost in costs if cost.seconds is not None]
    gpu_hours = sum(spent / 3600 * num_gpus for spent, num_gpus in seconds)
    cpu_hours = sum(spent / 3600 for spent, num_gpus in seconds if num_gpus == 0)
    is_complete = bool(costs) and len(seconds) == len(costs)
    return RunCost(
        gpu_hours if is_complete else None, cpu_hours if is_complete else None, sum(tokens) if tokens else None
    )


def _totals(file: Path) -> tuple[float, float]:
    """Returns seconds and tokens of a stage."""
    import numpy as np
    import pandas as pd

    columns = ["time/step", "time/probe", "train/num_tokens"]
    table = _read_csv(file).reindex(columns=columns).apply(pd.to_numeric, errors="coerce")
    seconds, probe_seconds, tokens = table.where(np.isfinite(table)).sum()
    return float(seconds + probe_seconds), float(tokens)


def _read_csv(path: Path) -> pd.DataFrame:
    """Returns the cells as text, a row for each line."""
    import pandas as pd

    if not path.is_file():
        raise InputError.at(path, "there is no such file; a stage of training names it as its metrics.")
    try:
        return pd.read_csv(path, dtype=str, na_filter=False, skip_blank_lines=False)
    except ValueError as error:
        raise InputError.at(path, f"is no table of metrics ({error}).") from error


def _numbers(cells: pd.Series, path: Path) -> list[float]:
    """Returns the numbers in the cells of a column."""
    numbers = []
    for index, text in cells.items():
        try:
            numbers.append(float(text))
        except ValueError as error:
            problem, line = f"found {text!r}, expected a number.", int(index) + 2  # the header is line 1
            raise InputError.at(path, problem, line=line, field=str(cells.name)) from error
    return numbers


def _manifest(folder: Path) -> dict[str, Any] | None:
    file = folder / MANIFEST_FILE
    return read_artifact(folder).manifest if file.is_file() else None
