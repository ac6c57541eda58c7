"""The table of the study: each method of a family with its scores, its differences from MedSSR and its training."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from measures import LAST_STEPS, Measured, step_of_collapse

from medssr.questions import Question
from medssr.statistics import crossed_bootstrap_interval

BASELINE = "medssr"
NUM_RESAMPLES = 10_000
CONFIDENCE = 0.95
SLICES = ("rare", "never asked", "common")


def slice_columns(questions: Sequence[Question], asked: Collection[tuple[str, str]]) -> dict[str, list[int]]:
    """Returns the indices of the questions of each slice.

    "never asked" are those on facts of rare diseases that no training asked about.
    """
    rare = [index for index, question in enumerate(questions) if question.is_rare]
    common = [index for index, question in enumerate(questions) if question.is_rare is False]
    unasked = [
        index for index in rare if (questions[index].entity, questions[index].provenance["relation"]) not in asked
    ]
    return {"rare": rare, "never asked": unasked, "common": common}


def by_method(measured: Sequence[Measured]) -> dict[str, list[Measured]]:
    """Returns the runs of each method in order of their seeds."""
    groups: dict[str, list[Measured]] = {}
    for each in sorted(measured, key=lambda each: each.seed):
        groups.setdefault(each.method, []).append(each)
    return groups


def matrix(runs: Sequence[Measured], columns: Sequence[int], model: str | None = None) -> np.ndarray:
    """Returns the fraction of right samples of the questions of a slice: `[S, Q]`; of the last model for None."""
    return np.array([run.accuracies[model or run.last_model][list(columns)] for run in runs])


def interval_text(scores: np.ndarray, clusters: Sequence[str], minus: np.ndarray | None, confidence: float) -> str:
    """Returns a mean, or a difference, with its interval over seeds and questions."""
    interval = crossed_bootstrap_interval(
        scores, clusters, minus=minus, seed=0, num_resamples=NUM_RESAMPLES, confidence=confidence
    )
    value, sign = (scores.mean(), "") if minus is None else (scores.mean() - minus.mean(), "+")
    return f"{value:{sign}.3f} [{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"


def comparison_table(measured: Sequence[Measured], asked: Collection[tuple[str, str]]) -> pd.DataFrame:
    """Returns a row for each method of a family: accuracies, and differences from MedSSR.

    The intervals of differences hold for all of them at a time (Bonferroni): with k other methods, each has a
    confidence of 1 - 0.05 / k.
    """
    groups = by_method(measured)
    questions = measured[0].questions
    columns = slice_columns(questions, asked)
    confidence = 1 - (1 - CONFIDENCE) / max(1, len(groups) - 1)
    rows: dict[str, dict[str, str]] = {}
    names = ["before training", *groups]
    for name in names:
        runs = next(iter(groups.values())) if name == "before training" else groups[name]
        model = "base" if name == "before training" else None
        row = {"seeds": str(len(runs)), "lr": "" if model else f"{runs[0].learning_rate:g}"}
        for slice_name in SLICES:
            chosen = columns[slice_name]
            clusters = [questions[index].content_key for index in chosen]
            scores = matrix(runs, chosen, model)
            row[f"{slice_name}, n={len(chosen)}"] = interval_text(scores, clusters, None, CONFIDENCE)
            if name not in (BASELINE, "before training") and BASELINE in groups:
                baseline = matrix(groups[BASELINE], chosen)
                row[f"{slice_name}: difference"] = interval_text(scores, clusters, baseline, confidence)
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index").fillna("").rename_axis("method")


def training_table(measured: Sequence[Measured], asked: Collection[tuple[str, str]]) -> pd.DataFrame:
    """Returns a row for each method of a family: what its first stage did, and what the run cost; means over seeds."""
    rare = slice_columns(measured[0].questions, asked)["rare"]
    rows = {}
    for name, runs in by_method(measured).items():
        after_first = matrix(runs, rare, list(runs[0].accuracies)[1]).mean()
        collapses = [step_of_collapse(list(run.curves.get("train/true_accuracy", ()))) for run in runs]
        rows[name] = {
            "rare after stage 1": f"{after_first:.3f}",
            "label accuracy": _end(runs, "train/label_accuracy"),
            "reward accuracy": _end(runs, "train/reward_accuracy"),
            "answers in a group": _end(runs, "train/distinct_answers"),
            "true accuracy": _end(runs, "train/true_accuracy"),
            "collapse at step": ", ".join("-" if step is None else str(step) for step in collapses),
            "sampled tokens": f"{np.mean([run.sampled_tokens[run.last_model] for run in runs]):,.0f}",
            "seconds": f"{np.mean([run.seconds for run in runs]):.0f}",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def search_table(objectives: Mapping[tuple[str, str], Mapping[float, float]]) -> pd.DataFrame:
    """Returns the accuracy of each learning rate on the development questions, by method and family."""
    rows = {
        f"{method}, {family}": {f"{rate:g}": f"{value:.3f}" for rate, value in sorted(values.items())}
        for (method, family), values in objectives.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").fillna("").rename_axis("method, model")


def _end(runs: Sequence[Measured], metric: str) -> str:
    """Returns the mean of a metric over the last steps of stage 1 and over seeds; "" where it is not logged."""
    ends = [run.curves[metric].tail(LAST_STEPS).mean() for run in runs if metric in run.curves]
    return f"{np.mean(ends):.3f}" if ends else ""
