"""Writes `results.json` of a pipeline run: the scores of every model, with their paired differences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from medssr.config import PipelineConfig, StageConfig, method_name
from medssr.evaluation.comparison import Comparison, compare, corrected
from medssr.evaluation.results_io import RESULTS_FILE, read_asked_questions, read_predictions
from medssr.evaluation.scoring import RARE_ASKED, RARE_NEVER_ASKED, BenchmarkScore, score
from medssr.manifests import Artifact
from medssr.questions import Question, read_questions
from medssr.reports.runs import (
    ModelResult,
    PairedDifference,
    RunRecord,
    TrainingStage,
    label_summary_of_counts,
    read_evaluation,
    record_json,
)
from medssr.utils.files import write_json_atomically
from medssr.utils.naming import job_name
from medssr.utils.provenance import overrides


@dataclass(frozen=True, slots=True)
class StageFiles:
    """A training stage, with the files of questions that it read and the metrics that it logged."""

    stage: StageConfig
    questions: Sequence[Path]
    metrics: Path


def write_run_results(
    run_dir: Path,
    config: PipelineConfig,
    prepared: Mapping[str, Artifact],
    scores: Mapping[str, Artifact],
    stages: Sequence[StageFiles],
) -> Path:
    """Writes `results.json` of a run and returns its path.

    Args:
        run_dir: The run's folder.
        config: The pipeline's configuration.
        prepared: The artefacts of synthesis and labelling by step; empty without these steps.
        scores: The evaluation of each model by its name, in order of training.
        stages: The training stages in order.
    """
    files = dict.fromkeys(file for stage in stages for file in stage.questions)
    asked = asked_facts(question for file in files for question in read_questions(file))
    models, pairs = _scored_and_compared(scores, asked, config.seed)
    artifacts = {**prepared, **{f"evaluate {name}": evaluation for name, evaluation in scores.items()}}
    record = RunRecord(
        run=job_name(overrides()),
        study=config.study,
        overrides=overrides(),
        config=settings_of_run(
            config.model.path,
            config.seed,
            config.synthesis.rare_share,
            config.synthesis.num_questions,
            [stage.name for stage in config.stages],
        ),
        models=[ModelResult(name, benchmarks) for name, benchmarks in models.items()],
        paired=[
            PairedDifference(before, after, benchmark, name, **asdict(comparison))
            for (before, after), comparisons in pairs.items()
            for benchmark, by_slice in corrected(comparisons).items()
            for name, comparison in by_slice.items()
        ],
        labels=label_summary_of_counts(prepared["pseudo_label"].manifest["counts"])
        if "pseudo_label" in prepared
        else None,
        training=[TrainingStage(files.stage.name, str(files.metrics), method_name(files.stage)) for files in stages],
        artifacts={name: str(artifact.directory) for name, artifact in artifacts.items()},
    )
    path = run_dir / RESULTS_FILE
    write_json_atomically(path, record_json(record))
    return path


def settings_of_run(
    model: str, seed: int, rare_share: float, num_questions: int, stages: Sequence[str]
) -> dict[str, Any]:
    """Returns what `results.json` has of the configuration of a pipeline run."""
    return {
        "model": model.rstrip("/").split("/")[-1],
        "seed": seed,
        "rare_share": rare_share,
        "num_questions": num_questions,
        "stages": list(stages),
    }


def _scored_and_compared(
    scores: Mapping[str, Artifact], asked: set[tuple[str, str]], seed: int
) -> tuple[dict[str, dict[str, BenchmarkScore]], dict[tuple[str, str], dict[str, dict[str, Comparison]]]]:
    """Returns scores by model and benchmark, and each model against each earlier one by benchmark and slice."""
    models: dict[str, dict[str, BenchmarkScore]] = {name: {} for name in scores}
    pairs: dict[tuple[str, str], dict[str, dict[str, Comparison]]] = {pair: {} for pair in combinations(scores, 2)}
    base = next(iter(scores.values())).directory
    for benchmark in read_evaluation(base).benchmarks:
        questions = read_asked_questions(base, benchmark)
        slices = fact_slices(questions, asked)
        predictions = {name: read_predictions(scored.directory, benchmark) for name, scored in scores.items()}
        for name, answers in predictions.items():
            models[name][benchmark] = score(questions, answers, slices, seed=seed)
        for (before, after), comparisons in pairs.items():
            comparisons[benchmark] = compare(questions, predictions[before], predictions[after], slices, seed=seed)
    return models, pairs


def asked_facts(questions: Iterable[Question]) -> set[tuple[str, str]]:
    """Returns the facts that questions ask about, as (disease, relation), where their provenance names one."""
    return {
        (question.entity, question.provenance["relation"])
        for question in questions
        if question.entity is not None and "relation" in question.provenance
    }


def fact_slices(questions: Sequence[Question], asked: set[tuple[str, str]]) -> dict[str, set[str]]:
    """Returns the ids of rare-disease questions by whether training asked about their fact."""
    slices: dict[str, set[str]] = {RARE_ASKED: set(), RARE_NEVER_ASKED: set()}
    for question in questions:
        if question.is_rare and "relation" in question.provenance:
            is_asked = (question.entity, question.provenance["relation"]) in asked
            slices[RARE_ASKED if is_asked else RARE_NEVER_ASKED].add(question.id)
    return {name: ids for name, ids in slices.items() if ids}
