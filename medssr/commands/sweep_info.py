"""Plans a sweep without running it, for `-m --info`: its jobs, the steps that they share, and what training costs."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from medssr.artifacts import fingerprint_parts
from medssr.commands.info import Rows
from medssr.config import GRPOConfig, PipelineConfig, StageQuestions, TrainConfig, stage_method
from medssr.config.steps import (
    asks_pseudo_labelled,
    asks_synthetic,
    evaluate_config,
    pseudo_label_config,
    synthesize_config,
)
from medssr.sweeps.jobs import file_stamp
from medssr.sweeps.planning import PlannedJob
from medssr.training.forecast import Forecast, forecast


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step of a job before it runs.

    Attributes:
        name: "synthesize", the name of a stage ...
        identity: Equal for steps that have one artefact.
        forecast: What a training by GRPO is expected to take, or why that is not known; None for other steps.
        num_steps: Its number of training steps.
    """

    name: str
    identity: str
    forecast: Forecast | str | None = None
    num_steps: int = 0

    @property
    def device_hours(self) -> float:
        """The hours that it is expected to take, times devices; 0 if that is not known."""
        return self.forecast.device_hours(self.num_steps) if isinstance(self.forecast, Forecast) else 0.0


def sweep_plan(jobs: Sequence[PlannedJob]) -> Rows:
    """Returns the plan of a sweep as rows (name, value)."""
    states = Counter("done" if job.job.is_finished else "refused" if job.problem else "to run" for job in jobs)
    counts = ", ".join(f"{number} {state}" for state, number in states.items())
    rows = [("sweep", str(jobs[0].job.folder.parent)), ("jobs", f"{len(jobs)}: {counts}")]
    rows += [(f"  {job.job.name}", job.problem or job.state) for job in jobs]
    to_run = [steps_of(job.job.config) for job in jobs if not job.job.is_finished and job.problem is None]
    done = {step.identity for job in jobs if job.job.is_finished for step in steps_of(job.job.config)}
    asked = [step for steps in to_run for step in steps]
    to_make = {step.identity: step for step in asked if step.identity not in done}
    rows.append(("steps", f"{len(to_make)} to make for {len(asked)} that the jobs ask for"))
    for name in dict.fromkeys(step.name for step in asked):
        num_made = sum(step.name == name for step in to_make.values())
        rows.append((f"  {name}", f"{num_made} for {sum(step.name == name for step in asked)}"))
    return [*rows, *_cost_rows(list(to_make.values()), asked, jobs)]


def _cost_rows(to_make: Sequence[PlannedStep], asked: Sequence[PlannedStep], jobs: Sequence[PlannedJob]) -> Rows:
    """Returns the expected hours of all trainings by GRPO, and their price where all jobs have the same per hour."""
    trained = [step for step in to_make if step.forecast is not None]
    unknown = [step.forecast for step in trained if isinstance(step.forecast, str)]
    if not trained:
        return []
    if unknown:
        return [("time", f"{unknown[0]} ({len(unknown)} of {len(trained)} trainings)")]
    hours = sum(step.device_hours for step in trained)
    alone = sum(step.device_hours for step in asked)
    shared = f"{hours:,.3g} for training, {alone:,.3g} if no step were shared"
    rows = [("device hours", f"{shared}; synthesis, votes and evaluation come on top")]
    prices = {job.job.config.extras.forecast.price_per_hour for job in jobs if job.problem is None}
    if len(prices) == 1 and (price := prices.pop()) is not None:
        rows.append(("  price", f"{hours * price:,.2f} at {price:g} per device and hour"))
    return rows


def steps_of(config: PipelineConfig | TrainConfig) -> list[PlannedStep]:
    """Returns the steps of a job; the output of a step that is not made yet counts by what makes it."""
    if isinstance(config, TrainConfig):
        return [_training(config.stage, config, config, config.grpo)]
    steps: list[PlannedStep] = []
    human = Path(config.seed_questions.path)
    files = {StageQuestions.human: human}
    if asks_synthetic(config):
        steps.append(_step("synthesize", synthesize_config(config)))
        synthetic = files[StageQuestions.synthetic] = _output(steps[-1], "questions.jsonl")
        if asks_pseudo_labelled(config):
            steps.append(_step("pseudo_label", pseudo_label_config(config, synthetic, config.model)))
            files |= _labelled_files(steps[-1], human)
    steps.append(_step("evaluate base", evaluate_config(config, config.model), "evaluate"))
    model = config.model
    for stage in config.stages:
        if stage.relabels:
            votes = pseudo_label_config(config, files[StageQuestions.synthetic], model)
            steps.append(_step(f"pseudo_label {stage.name}", votes, "pseudo_label"))
            files |= _labelled_files(steps[-1], human)
        trained = stage_method(stage).configure(config, stage, model, stage.data(files))
        if isinstance(trained, TrainConfig):
            steps.append(_training(stage.name, trained, config, trained.grpo))
        else:
            steps.append(_step(stage.name, trained, trained.task_name))
        model = replace(model, path=str(_output(steps[-1], "model")), revision=None)
        steps.append(_step(f"evaluate {stage.name}", evaluate_config(config, model), "evaluate"))
    return steps


def _labelled_files(labelling: PlannedStep, human: Path) -> dict[StageQuestions, Path]:
    """Returns what stands for the question file of each kind that has labels of a vote."""
    labels = _output(labelling, "questions.jsonl")
    return {
        StageQuestions.pseudo_labelled: labels,
        StageQuestions.mixed: Path(f"{labels} and {file_stamp(human)}"),
    }


def _training(name: str, config: TrainConfig, command: PipelineConfig | TrainConfig, grpo: GRPOConfig) -> PlannedStep:
    return replace(_step(name, config, "train"), forecast=forecast(command, grpo), num_steps=grpo.num_steps)


def _step(name: str, config: Any, kind: str | None = None) -> PlannedStep:
    parts = [kind or name, *fingerprint_parts(asdict(config), file_stamp)]
    return PlannedStep(name, hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest())


def _output(step: PlannedStep, name: str) -> Path:
    """Returns a path that stands for an output of a step, which nothing has on disk."""
    return Path(f"<{step.identity}>") / name
