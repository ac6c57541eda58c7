"""What a run of the study is measured by: accuracies by question, labels, diversity, collapse, tokens and seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medssr.engines.sampled_answers import read_answers as read_votes
from medssr.evaluation.scoring import sample_accuracy
from medssr.questions import Question, read_questions
from medssr.reports.paired_answers import evaluation_folder, read_answers
from medssr.reports.results import asked_facts
from medssr.reports.runs import Run

WINDOW = 5  # steps of the running mean of which a collapse is judged
LEAST_FALL = 0.1  # of the true accuracy in training, that counts as a collapse
LAST_STEPS = 10  # over which the end of training is described

Accuracies = dict[str, np.ndarray]  # by model, the fraction of right samples of each question


@dataclass(frozen=True)
class Measured:
    """One run, measured.

    Attributes:
        method: Its method.
        family: Its model.
        seed: Its seed.
        learning_rate: Its learning rate.
        questions: The questions of the evaluation.
        accuracies: The fraction of right samples of each question, by model: base, then each stage.
        sampled_tokens: The tokens that were sampled until each model, the votes included, by model.
        curves: What the stages before the last one logged, by metric, over their steps.
        seconds: Seconds of training, and of labelling where labels were voted.
    """

    method: str
    family: str
    seed: int
    learning_rate: float
    questions: list[Question]
    accuracies: Accuracies
    sampled_tokens: dict[str, float]
    curves: dict[str, pd.Series]
    seconds: float

    @property
    def last_model(self) -> str:
        """The name of the last model."""
        return list(self.accuracies)[-1]


def step_of_collapse(true_accuracy: Sequence[float]) -> int | None:
    """Returns the step from which on the true accuracy in training stays below that of its start, or None.

    Running means of `WINDOW` steps are compared with the first of them, and have to be lower by `LEAST_FALL`.

    Example:
        >>> step_of_collapse([0.6] * 8 + [0.3] * 8), step_of_collapse([0.6] * 8 + [0.3] * 4 + [0.6] * 8)
        (9, None)
    """
    means = pd.Series(true_accuracy, dtype=float).rolling(WINDOW).mean().dropna()
    fallen = means < means.iloc[0] - LEAST_FALL if len(means) else means.astype(bool)
    if not len(fallen) or not fallen.iloc[-1]:
        return None
    standing = fallen[~fallen].index
    return int(standing[-1]) + 1 if len(standing) else int(fallen.index[0])


def measure(run: Run, methods: Mapping[frozenset[str], str]) -> Measured:
    """Returns a run, measured.

    Args:
        run: The run.
        methods: The method of each job, by its overrides.
    """
    config = {text.partition("=")[0]: text.partition("=")[2] for text in run.record.overrides}
    (benchmark,) = run.record.models[0].benchmarks
    accuracies: Accuracies = {}
    for model in run.record.models:
        answers = read_answers(evaluation_folder(run, model.name), benchmark)
        by_id = {prediction.question_id: prediction for prediction in answers.predictions}
        accuracies[model.name] = np.array([sample_accuracy(each, by_id[each.id]) for each in answers.questions])
    votes = _votes(run)
    seconds = sum(seconds for _, seconds in votes.values())
    tokens, _ = votes.get("pseudo_label", (0.0, 0.0))
    sampled = {"base": tokens}
    tables: list[pd.DataFrame] = []
    for stage in run.record.training:
        table = pd.read_csv(run.folder / stage.metrics_file)
        tables.append(table)
        seconds += _seconds(run.folder / stage.metrics_file, table)
        if stage.method == "grpo":
            settings = _manifest(Path(run.folder / stage.metrics_file).parent)["config"]["grpo"]
            tokens += float(table["train/completion_tokens"].sum()) * sampled_in_a_step(settings)
        tokens += votes.get(f"pseudo_label {stage.stage}", (0.0, 0.0))[0]
        sampled[stage.stage] = tokens
    before_last = pd.concat(tables[:-1], ignore_index=True)
    curves = {name: before_last[name].dropna() for name in before_last if name != "step"}
    return Measured(
        methods[frozenset(run.record.overrides)],
        config["model"],
        int(config["seed"]),
        float(config["optim.optimizer.lr"]),
        answers.questions,
        accuracies,
        sampled,
        curves,
        seconds,
    )


def sampled_in_a_step(grpo: Mapping[str, Any]) -> int:
    """Returns the completions that a step of GRPO samples, those of a second view and of a teacher included.

    A teacher whose distributions the policy is drawn to reads the policy's completions and samples none.

    Args:
        grpo: The settings of the stage.

    Example:
        >>> plain = {"num_prompts_per_step": 24, "num_generations": 4, "has_permuted_view": False, "teacher": None}
        >>> plain |= {"distillation": None}
        >>> sampled_in_a_step(plain), sampled_in_a_step(plain | {"has_permuted_view": True})
        (96, 192)
        >>> sampled_in_a_step(plain | {"teacher": {"num_answers": 4}})
        192
        >>> sampled_in_a_step(plain | {"teacher": {"num_answers": 4}, "distillation": {"weight": 1.0}})
        96
    """
    has_answers = grpo["teacher"] is not None and grpo["distillation"] is None
    of_teacher = grpo["teacher"]["num_answers"] if has_answers else 0
    num_views = 2 if grpo["has_permuted_view"] else 1
    return int(grpo["num_prompts_per_step"] * (grpo["num_generations"] * num_views + of_teacher))


def facts_asked(runs: Sequence[Run], human: Path) -> set[tuple[str, str]]:
    """Returns the facts, as (disease, relation), that the training of any run asked about."""
    folders = {run.folder / path for run in runs for name, path in run.record.artifacts.items() if name == "synthesize"}
    files = [human, *(folder / "questions.jsonl" for folder in sorted(folders))]
    return asked_facts(question for file in files for question in read_questions(file))


def _votes(run: Run) -> dict[str, tuple[float, float]]:
    """Returns the sampled tokens and the seconds of each step of a run in which the policy votes."""
    votes = {}
    for name, path in run.record.artifacts.items():
        if name.startswith("pseudo_label"):
            folder = run.folder / path
            tokens = sum(answer.num_tokens for _, row in read_votes(folder / "answers") for answer in row)
            votes[name] = float(tokens), _manifest(folder)["seconds"]
    return votes


def _seconds(metrics: Path, table: pd.DataFrame) -> float:
    return float(table["time/step"].sum()) if "time/step" in table else float(_manifest(metrics.parent)["seconds"])


def _manifest(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return manifest
