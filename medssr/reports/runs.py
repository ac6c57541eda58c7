"""Reads a run from its folder: configuration, scores by model, labels and training curves."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from medssr.errors import InputError
from medssr.evaluation.results_io import RESULTS_FILE, SCHEMA_VERSION, EvaluationResults
from medssr.evaluation.scoring import ALL, BenchmarkScore
from medssr.manifests import check_input
from medssr.reports.metrics import read_curves
from medssr.utils.files import read_record

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelResult:
    """The scores of one model of a run ("base" or the stage that made it) by benchmark."""

    name: str
    benchmarks: dict[str, BenchmarkScore]


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Model `to` against model `origin` of one run; `medssr.evaluation.comparison.Comparison` explains the numbers."""

    origin: Annotated[str, Field(alias="from")]
    to: str
    benchmark: str
    slice: str
    difference: float
    low: float
    high: float
    n: int
    p_value: float | None = None
    num_won: int | None = None
    num_lost: int | None = None
    mcnemar_p_value: float | None = None
    p_adjusted: float | None = None
    mcnemar_p_adjusted: float | None = None


@dataclass(frozen=True, slots=True)
class AgreementBand:
    """Labels whose agreement lies in a band; `accuracy` against the hidden truth is None where there is none."""

    low: float
    high: float
    n: int
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class LabelSummary:
    """The outcomes of the questions that were voted on; they add up to `num_questions`.

    `valid_share` is the fraction of all votes that have a letter; None in runs that did not record it.
    """

    num_questions: int
    num_kept: int
    outcomes: dict[str, int]
    bands: list[AgreementBand]
    valid_share: float | None = None

    @property
    def has_few_valid_votes(self) -> bool:
        """Whether most votes are known to have no letter."""
        return self.valid_share is not None and self.valid_share < 1 / 2


@dataclass(frozen=True, slots=True)
class TrainingStage:
    """One stage of training and the CSV of its metrics, relative to the run folder or absolute."""

    stage: str
    metrics_file: str
    method: str = "grpo"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The content of `results.json` of a pipeline run; docs/results.md explains each field."""

    run: str
    overrides: list[str]
    config: dict[str, Any]
    models: list[ModelResult]
    paired: list[PairedDifference] = field(default_factory=list)
    labels: LabelSummary | None = None
    training: list[TrainingStage] = field(default_factory=list)
    artifacts: dict[str, str] = field(default_factory=dict)
    study: str | None = None
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class Run:
    """One run, or one evaluation as a run of one model.

    Attributes:
        folder: The folder that it was read from.
        record: Its results.
        curves: What is drawn of each stage, by stage and metric, each metric as a series over steps.
        is_finished: Whether all models were evaluated; a run under way has those of the steps that are done.
    """

    folder: Path
    record: RunRecord
    curves: dict[str, dict[str, pd.Series]] = field(compare=False)
    is_finished: bool = True

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.record.run

    @property
    def objective(self) -> float:
        """The objective of a hyper-parameter search: the last model's accuracy, a mean over benchmarks."""
        benchmarks = self.record.models[-1].benchmarks.values()
        return statistics.fmean(score.slices[ALL].accuracy.value for score in benchmarks)

    def evaluation(self, model: str) -> Path | None:
        """Returns the folder of the evaluation of a model; None where the run names none."""
        path = self.record.artifacts.get(f"evaluate {model}")
        return None if path is None else self.folder / path


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A run or group that was not compared, with the reason; `benchmark` names the only benchmark concerned."""

    run: str
    benchmark: str | None
    reason: str

    @property
    def what(self) -> str:
        """The run and, where only one benchmark is concerned, the benchmark."""
        return self.run if self.benchmark is None else f"{self.run}, {self.benchmark}"


def model_label(run: str, model: str) -> str:
    """Returns a label for a model of a run or of a group of runs; an evaluation is named by its model already.

    Example:
        >>> model_label("seed=1", "stage1_selfsup"), model_label("qwen (2)", "qwen")
        ('seed=1: stage1_selfsup', 'qwen (2)')
    """
    return run if run.startswith(model) else f"{run}: {model}"


def read_run(folder: Path | str) -> Run:
    """Returns the run that a folder holds: a run of the pipeline, or an evaluation.

    Raises:
        InputError: When `results.json` is absent, no JSON or neither of the form of `RunRecord` nor of that of
            `EvaluationResults`, label outcomes do not add up, or a metrics file is absent or broken. The message names
            file, field and what was found. Also when a file of an artefact that it reads is not as it was made.
    """
    folder = Path(folder)
    path = folder / RESULTS_FILE
    check_input(path)
    content = _read_json(path)
    if isinstance(content, dict) and "benchmarks" in content:
        record = _run_of_evaluation(_record(EvaluationResults, content, path))
    else:
        record = _record(RunRecord, content, path)
    _check(record, path)
    for evaluation in [folder / record.artifacts[name] for name in record.artifacts if name.startswith("evaluate ")]:
        check_input(evaluation)
    for stage in record.training:
        check_input(folder / stage.metrics_file)
    curves = {stage.stage: read_curves(folder / stage.metrics_file) for stage in record.training}
    return Run(folder, record, {stage: logged for stage, logged in curves.items() if logged})


def record_json(record: RunRecord) -> dict[str, Any]:
    """Returns a record as `results.json` has it."""
    content: dict[str, Any] = TypeAdapter(RunRecord).dump_python(record, by_alias=True)
    return content


def label_summary_of_counts(counts: dict[str, Any]) -> LabelSummary:
    """Returns the summary of labels from the counts in the manifest of pseudo-labelling."""
    return TypeAdapter(LabelSummary).validate_python(counts)


def read_evaluation(folder: Path) -> EvaluationResults:
    """Returns the results of an evaluation.

    Raises:
        InputError: When `results.json` is absent, no JSON or of another form.
    """
    path = folder / RESULTS_FILE
    return _record(EvaluationResults, _read_json(path), path)


def read_hydra_file(folder: Path, name: str) -> Any:
    """Returns a file that Hydra wrote for a job ("config", "overrides" or "hydra"); None without one.

    Raises:
        InputError: When the file is no YAML.
    """
    path = folder / ".hydra" / f"{name}.yaml"
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader) if path.is_file() else None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError.at(path, f"is not valid YAML ({error}).") from error


def _read_json(path: Path) -> Any:
    if not path.is_file():
        raise InputError.at(path, "there is no such file; give the folder of a run that has finished its evaluation.")
    return read_record(path, "Give another run, or run its command again.")


def _record(kind: type[T], content: Any, path: Path) -> T:
    """Returns decoded JSON as a dataclass; an error names the path of the first value that does not fit."""
    version = content.get("schema_version", SCHEMA_VERSION) if isinstance(content, dict) else SCHEMA_VERSION
    if version != SCHEMA_VERSION:
        problem = f"found {version!r}; this version of medssr reads {SCHEMA_VERSION}."
        raise InputError.at(path, problem, field="schema_version")
    # In a tuple, because the settings of a dataclass itself cannot be given here. Strict: "3" and true are no numbers.
    adapter = TypeAdapter(tuple[kind], config=ConfigDict(strict=True, allow_inf_nan=False))  # type: ignore[valid-type]
    try:
        return adapter.validate_json(json.dumps([content]))[0]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        keys = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in first["loc"][1:])
        expected = first["msg"].replace("Input should be", "expected")
        problem = "is missing." if first["type"] == "missing" else f"found {first['input']!r:.60}, {expected}."
        raise InputError.at(path, problem, field=keys.removeprefix(".") or "the file") from error


def _run_of_evaluation(results: EvaluationResults) -> RunRecord:
    """Returns an evaluation as a run of one model, whose answers are in the run's folder."""
    model = results.model
    name = model_name(model.adapter_path or model.path)
    settings = asdict(model) | {"model": model.path, "seed": results.seed}
    del settings["path"]
    return RunRecord(
        run=name,
        overrides=[],
        config=settings | results.protocol,
        models=[ModelResult(name, results.benchmarks)],
        artifacts={f"evaluate {name}": "."},
    )


def model_name(path: str) -> str:
    """Returns a short name for a model or its adapters: the last part of its path, the last two if trained here.

    Example:
        >>> model_name("Qwen/Qwen3-8B-Base"), model_name("artifacts/train/0123/model")
        ('Qwen3-8B-Base', '0123/model')
        >>> model_name("artifacts/train/0123/model/adapter")
        '0123/model'
    """
    parts = [part for part in path.replace("\\", "/").split("/") if part]
    if parts[-2:] == ["model", "adapter"]:
        del parts[-1]
    return "/".join(parts[-2:] if parts[-1:] == ["model"] else parts[-1:]) or path


def _check(record: RunRecord, path: Path) -> None:
    if not record.models:
        raise InputError.at(path, "is empty; expected at least the base model.", field="models")
    names = [model.name for model in record.models]
    if len(set(names)) != len(names):
        raise InputError.at(path, f"found {', '.join(names)}; expected unique names.", field="models")
    if record.labels is not None:
        labels, total = record.labels, sum(record.labels.outcomes.values())
        if total != labels.num_questions:
            problem = f"the counts add up to {total}, not to num_questions = {labels.num_questions}."
            raise InputError.at(path, problem, field="labels.outcomes")
        if labels.outcomes.get("kept") != labels.num_kept:
            problem = f"found {labels.outcomes.get('kept')}, expected num_kept = {labels.num_kept}."
            raise InputError.at(path, problem, field="labels.outcomes.kept")
