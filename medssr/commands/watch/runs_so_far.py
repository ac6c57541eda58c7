"""A run under way as reports read one: the scores, labels and curves of the steps that it has done so far."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from medssr.commands.watch.states import RunState, State
from medssr.evaluation.results_io import RESULTS_FILE
from medssr.manifests import read_artifact
from medssr.reports.metrics import read_curves
from medssr.reports.results import settings_of_run
from medssr.reports.runs import (
    ModelResult,
    Run,
    RunRecord,
    TrainingStage,
    label_summary_of_counts,
    model_name,
    read_evaluation,
    read_hydra_file,
    read_run,
)
from medssr.utils.naming import job_name
from medssr.utils.outputs import MANIFEST_FILE

_TRAINING = ("train", "sft")
# Runs whose results are kept in memory.
_MAX_KEPT = 1024


@dataclass(frozen=True, slots=True)
class _Settings:
    """What is read of the configuration of a run.

    Attributes:
        names: The names of its models, in the order of their training.
        shown: What reports show of it.
        study: The name of its study.
    """

    names: list[str]
    shown: dict[str, Any]
    study: str | None


def read_run_so_far(state: RunState) -> Run:
    """Returns a run: as its results say where it is finished, else what its steps have made so far.

    Raises:
        InputError: When a file is broken.
    """
    results = state.folder / RESULTS_FILE
    if state.state is State.finished and results.is_file():
        return _read_finished(state.folder, results.stat().st_mtime_ns)
    settings = _settings(state.folder, (state.folder / ".hydra" / "config.yaml").stat().st_mtime_ns)
    overrides = read_hydra_file(state.folder, "overrides") or []
    models: list[ModelResult] = []
    training: list[TrainingStage] = []
    artifacts: dict[str, str] = {}
    labels = None
    for step, directory in state.steps:
        is_made = (directory / MANIFEST_FILE).is_file()
        # Before a stage there are the models of those before it, the first of which is the base model.
        index = max(len(models), 1) if step in _TRAINING else len(models)
        name = settings.names[min(index, len(settings.names) - 1)]
        if step in _TRAINING and (directory / "metrics.csv").is_file():
            training.append(TrainingStage(name, str(directory / "metrics.csv"), step))
        elif step == "evaluate" and is_made:
            artifacts[f"evaluate {name}"] = str(directory)
            models.append(ModelResult(name, read_evaluation(directory).benchmarks))
        elif step in ("synthesize", "pseudo_label") and is_made:
            artifacts[step] = str(directory)
            if step == "pseudo_label":
                labels = label_summary_of_counts(read_artifact(directory).manifest["counts"])
    record = RunRecord(
        run=job_name(overrides),
        overrides=list(map(str, overrides)),
        config=settings.shown,
        models=models,
        labels=labels,
        training=training,
        artifacts=artifacts,
        study=settings.study,
    )
    curves = {stage.stage: read_curves(Path(stage.metrics_file)) for stage in training}
    return Run(state.folder, record, {stage: logged for stage, logged in curves.items() if logged}, is_finished=False)


@lru_cache(maxsize=_MAX_KEPT)
def _read_finished(folder: Path, mtime_ns: int) -> Run:
    """Returns a finished run; one that has not changed is read once."""
    return read_run(folder)


@lru_cache(maxsize=_MAX_KEPT)
def _settings(folder: Path, mtime_ns: int) -> _Settings:
    """Returns what is read of the configuration of a run, which is composed but not resolved in its file."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from medssr.config import register

    register("pipeline")  # with the resolvers, such as that of files of the package
    config = OmegaConf.create(read_hydra_file(folder, "config") or {})

    def value(key: str) -> Any:
        try:
            return OmegaConf.select(config, key)
        except OmegaConfBaseException:  # a variable of another machine
            return None

    model, study = str(value("model.path") or ""), value("study")
    stages = [str(stage["name"]) for stage in value("stages") or []]
    if stages:
        names = ["base", *stages]
        questions = (value("synthesis.rare_share"), value("synthesis.num_questions"))
        shown = settings_of_run(model, value("seed"), *questions, stages)
    else:
        names = [str(value("stage") or model_name(model) or value("task_name") or "model")]
        shown = {"model": model, "seed": value("seed")}
    return _Settings(names, shown, None if study is None else str(study))
