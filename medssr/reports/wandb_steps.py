"""The W&B runs of steps, pipelines and reports: their lineage, their summaries and their tables."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from medssr.artifacts import decisive_values
from medssr.config import num_check_steps
from medssr.manifests import Artifact, read_artifact
from medssr.tracking.wandb_limits import is_wandb_disabled
from medssr.utils.disk_faults import only_watches
from medssr.utils.files import hash_file, write_json_atomically
from medssr.utils.naming import safe_name
from medssr.utils.processes import is_main_process

if TYPE_CHECKING:
    import pandas as pd

    from medssr.config import CompareConfig, PipelineConfig
    from medssr.evaluation.scoring import BenchmarkScore
    from medssr.reports.runs import LabelSummary, Run

_LOGGED = "wandb/logged.json"


def log_step(config: Any, artifact: Artifact) -> None:
    """Logs lineage and summary of a finished step to the W&B run that has its fingerprint.

    A step is logged once, however often its artefact is used later. Without a W&B logger nothing happens, nor with an
    artefact of a further store, which is for those who made it to log, or of a folder that can only be read.
    """
    marker = artifact.path(_LOGGED)
    node = _wandb_node(config)
    is_own = artifact.directory.parents[1] == Path(config.paths.artifact_dir).absolute()
    if node is None or marker.is_file() or not is_own or not os.access(artifact.directory, os.W_OK):
        return
    from medssr.config.composition import plain
    from medssr.evaluation.results_io import RESULTS_FILE
    from medssr.tracking.lineage import inputs_of, output_of
    from medssr.tracking.loggers import open_loggers

    with open_loggers({"wandb": node}, config, artifact.directory) as (logger,):
        logger.link(inputs_of(artifact, plain(config)), [output_of(artifact)])
        logger.summarize(_step_summary(artifact))
        if artifact.manifest["step"] == "evaluate":
            logger.keep_files({RESULTS_FILE: artifact.path(RESULTS_FILE).read_text(encoding="utf-8")})
    if not logger.is_lost:
        with only_watches("marks of what Weights & Biases has", artifact.directory):
            write_json_atomically(marker, {"run": artifact.fingerprint})


def log_pipeline(config: PipelineConfig, run: Run) -> None:
    """Logs the results of a whole run as a run of its own: scores of the base model and of the last, labels and cost.

    The W&B run also holds `results.json` and the metrics of its stages, so `medssr-compare` reads it like a folder.
    """
    from medssr.tracking.loggers import OTHER_SERVICES

    wandb_node = _wandb_node(config)
    nodes = {} if wandb_node is None else {"wandb": wandb_node}
    if is_main_process() and not num_check_steps(config):
        nodes |= {name: node for name, node in (config.logger or {}).items() if name in OTHER_SERVICES}
    if not nodes:
        return
    from medssr.evaluation.results_io import RESULTS_FILE
    from medssr.reports.metrics import run_cost
    from medssr.reports.runs import record_json
    from medssr.tracking.lineage import output_of
    from medssr.tracking.loggers import open_loggers
    from medssr.tracking.wandb_logger import WandbMetrics

    settings = {"study": config.study} | decisive_values(asdict(config))
    run_id = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    first, last = run.record.models[0], run.record.models[-1]
    metrics = {f"metrics-{safe_name(stage.stage)}.csv": stage for stage in run.record.training}
    # In W&B the files lie in one folder.
    stages = [replace(stage, metrics_file=file) for file, stage in metrics.items()]
    results = record_json(replace(run.record, training=stages))
    summary = (
        score_summary(last.benchmarks)
        | score_summary(first.benchmarks, "base_score")
        | label_summary(run.record.labels)
        | {f"cost/{name}": value for name, value in asdict(run_cost(run)).items() if value is not None}
    )
    with open_loggers(nodes, config, run.folder, run_id) as loggers:
        for logger in loggers:
            logger.summarize(summary)
            if isinstance(logger, WandbMetrics):
                logger.link([output_of(read_artifact(run.folder / path)) for path in run.record.artifacts.values()], [])
                texts = {file: (run.folder / stage.metrics_file).read_text("utf-8") for file, stage in metrics.items()}
                logger.keep_files(texts | {RESULTS_FILE: json.dumps(results, ensure_ascii=False)})
            else:
                logger.finalize("success")


def log_tables(config: CompareConfig, tables: Mapping[str, pd.DataFrame], report: Path) -> None:
    """Logs tables as W&B tables by their names, where the command has a W&B logger.

    The scores in the report's folder name the W&B run: the same report again is the same run.
    """
    from medssr.tracking.loggers import open_loggers
    from medssr.tracking.wandb_logger import WandbMetrics

    directory = report / "tables" / hash_file(report / "summary.csv")[:16]
    directory.mkdir(parents=True, exist_ok=True)
    with open_loggers(config.logger, config, directory) as loggers:
        for logger in loggers:
            if isinstance(logger, WandbMetrics):
                for name, table in tables.items():
                    cells = table.astype(object).where(table.notna(), None)
                    logger.log_table(name, columns=list(table.columns), data=cells.values.tolist())


def _wandb_node(config: Any) -> dict[str, Any] | None:
    """Returns the settings of the W&B logger; None where nothing is logged there.

    In processes beside the main one, in quick checks, and where the environment disables it.
    """
    node: dict[str, Any] | None = (config.logger or {}).get("wandb")
    return node if is_main_process() and not is_wandb_disabled() and not num_check_steps(config) else None


def score_summary(benchmarks: Mapping[str, BenchmarkScore], prefix: str = "score") -> dict[str, float]:
    """Returns accuracies: `<prefix>/<slice>`, a mean over benchmarks, and `<prefix>/<benchmark>/<slice>`.

    Of each benchmark also the ends of the interval (`_low`, `_high`) and the number of questions (`_n`).
    """
    from medssr.evaluation.scoring import ALL

    summary: dict[str, float] = {}
    by_slice: dict[str, list[float]] = {}
    for benchmark, score in benchmarks.items():
        for name, result in score.slices.items():
            key, accuracy = f"{prefix}/{benchmark}/{name}", result.accuracy
            summary |= {key: accuracy.value, f"{key}_low": accuracy.low, f"{key}_high": accuracy.high}
            summary[f"{key}_n"] = result.num_questions
            by_slice.setdefault(name, []).append(accuracy.value)
            if name == ALL:
                summary[f"{prefix}/{benchmark}/invalid_share"] = result.invalid.value
    return summary | {f"{prefix}/{name}": fmean(values) for name, values in by_slice.items()}


def label_summary(labels: LabelSummary | None) -> dict[str, float]:
    """Returns the fractions of questions with a label and of valid votes, and agreement and accuracy of the labels.

    The last two are over the questions whose truth is known; agreement is that of the middles of the bands.
    """
    if labels is None or not labels.num_questions:
        return {}
    summary = {"labels/kept_share": labels.num_kept / labels.num_questions}
    if labels.valid_share is not None:
        summary["labels/valid_share"] = labels.valid_share
    scored = [(band, band.accuracy) for band in labels.bands if band.accuracy is not None and band.n]
    total = sum(band.n for band, _ in scored)
    if total:
        summary["labels/accuracy"] = sum(band.n * accuracy for band, accuracy in scored) / total
        summary["labels/agreement"] = sum(band.n * (band.low + band.high) / 2 for band, _ in scored) / total
    return summary


def _step_summary(artifact: Artifact) -> dict[str, float]:
    from medssr.reports.runs import label_summary_of_counts, read_evaluation

    step = artifact.manifest["step"]
    summary = {"cost/hours": artifact.manifest["seconds"] / 3600}
    if step == "evaluate":
        return summary | score_summary(read_evaluation(artifact.directory).benchmarks)
    if step == "pseudo_label":
        return summary | label_summary(label_summary_of_counts(artifact.manifest["counts"]))
    return summary
