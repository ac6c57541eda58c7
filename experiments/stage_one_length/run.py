"""Makes the table and the figure of the study, after running the pipelines that are not done.

    python experiments/stage_one_length/run.py FOLDER

The same command goes on where it was interrupted; `--no-run` makes both of what is there. Further words are overrides.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from medssr.config.catalog import CONF_DIR
from medssr.evaluation.scoring import sample_accuracy
from medssr.questions import Question
from medssr.reports.paired_answers import evaluation_folder, read_answers
from medssr.reports.plots import new_figure
from medssr.reports.render import markdown, write_csv
from medssr.reports.runs import Run
from medssr.reports.studies import find_study
from medssr.statistics import crossed_bootstrap_interval

STUDY = "stage_one_length"
ALWAYS = ("trainer=cpu", "logger=csv", "extras.progress_bar=false", "extras.num_threads=1")
SLICES = {"rare": True, "common": False}
NUM_RESAMPLES = 10_000


@dataclass(frozen=True)
class Length:
    """The runs of one model with one length of stage 1.

    Attributes:
        percent: The length.
        seeds: Those of the runs.
        questions: The questions of the evaluation.
        scores: `[S, Q]`, the fraction of right samples of each question after stage 2.
    """

    percent: int
    seeds: list[int]
    questions: list[Question]
    scores: np.ndarray


def percents() -> dict[int, int]:
    """Returns the length in percent by the number of steps of stage 1."""
    content = yaml.safe_load((CONF_DIR / "experiment" / f"{STUDY}.yaml").read_text(encoding="utf-8"))
    num_steps = content["grpo"]["num_steps"]
    return {num_steps * int(name) // 100: int(name) for name in content["hydra"]["sweeper"]["variants"]}


def num_first_steps(overrides: Sequence[str]) -> int:
    """Returns the number of steps of stage 1 of a job, by its overrides."""
    stages = {text.partition("=")[0].lstrip("+"): text.partition("=")[2] for text in overrides}
    settings = stages.get("stages.0.settings")
    return 0 if settings is None else int(settings.strip("{}").replace(" ", "").removeprefix("num_steps:"))


def accuracies(run: Run) -> tuple[list[Question], list[float]]:
    """Returns the questions and the fraction of right samples of each, of the last model."""
    model = run.record.models[-1]
    (benchmark,) = model.benchmarks
    answers = read_answers(evaluation_folder(run, model.name), benchmark)
    by_id = {prediction.question_id: prediction for prediction in answers.predictions}
    return answers.questions, [sample_accuracy(question, by_id[question.id]) for question in answers.questions]


def lengths(runs: Sequence[Run], model: str) -> list[Length]:
    """Returns the lengths of one model that have a run."""
    accuracies_of: dict[int, dict[int, tuple[list[Question], list[float]]]] = {}
    names = percents()
    for run in runs:
        overrides = run.record.overrides
        if f"model={model}" in overrides:
            seed = next(int(text.removeprefix("seed=")) for text in overrides if text.startswith("seed="))
            accuracies_of.setdefault(names[num_first_steps(overrides)], {})[seed] = accuracies(run)
    made = []
    for percent, by_seed in sorted(accuracies_of.items()):
        seeds = sorted(by_seed)
        scores = np.array([by_seed[seed][1] for seed in seeds])
        made.append(Length(percent, seeds, by_seed[seeds[0]][0], scores))
    return made


def estimate(length: Length, is_rare: bool, minus: Length | None) -> tuple[float, float, float]:
    """Returns a mean, or the difference from another length over the seeds of both, with its interval."""
    columns = [index for index, question in enumerate(length.questions) if question.is_rare is is_rare]
    seeds = [seed for seed in length.seeds if minus is None or seed in minus.seeds]
    scores = length.scores[[length.seeds.index(seed) for seed in seeds]][:, columns]
    other = None if minus is None else minus.scores[[minus.seeds.index(seed) for seed in seeds]][:, columns]
    clusters = [length.questions[index].content_key for index in columns]
    interval = crossed_bootstrap_interval(scores, clusters, minus=other, seed=0, num_resamples=NUM_RESAMPLES)
    return float(scores.mean() - (0.0 if other is None else other.mean())), interval.low, interval.high


def table(measured: Sequence[Length]) -> pd.DataFrame:
    """Returns a row for each length: accuracies after stage 2, and differences from the shortest one."""
    rows = {}
    for length in measured:
        row = {"seeds": str(len(length.seeds))}
        for name, is_rare in SLICES.items():
            row[name] = "{:.3f} [{:.3f}, {:.3f}]".format(*estimate(length, is_rare, None))
            if length is not measured[0]:
                row[f"{name}: difference"] = "{:+.3f} [{:+.3f}, {:+.3f}]".format(
                    *estimate(length, is_rare, measured[0])
                )
        rows[f"{length.percent}%"] = row
    return pd.DataFrame.from_dict(rows, orient="index").fillna("").rename_axis("stage 1")


def plot(by_model: dict[str, list[Length]], path: Path) -> None:
    """Draws accuracy after stage 2 against the length of stage 1, with intervals."""
    with new_figure(path, height=5.4) as figure:
        panels = figure.subplots(len(SLICES), 1, sharex=True)
        for axes, (name, is_rare) in zip(panels, SLICES.items(), strict=True):
            for shift, (model, of_model) in enumerate(by_model.items()):
                values = np.array([estimate(length, is_rare, None) for length in of_model])  # [L, 3]
                bars = np.abs(values[:, 1:].T - values[:, 0])
                places = [length.percent + 2 * shift for length in of_model]
                axes.errorbar(places, values[:, 0], bars, marker="o", markersize=4, capsize=2, label=model)
            axes.set_ylabel(f"accuracy, {name} diseases")
            axes.grid(color="#e4e4e4", linewidth=0.8)
        panels[-1].set_xlabel("length of stage 1, percent")
        panels[0].legend(frameon=False, fontsize=8)


def main() -> None:
    """Runs the study and writes its report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("overrides", nargs="*", help="overrides of all pipelines")
    parser.add_argument("--no-run", action="store_true", help="runs nothing")
    arguments = parser.parse_intermixed_args()
    folder = arguments.folder.absolute()
    if not arguments.no_run:
        words = [f"experiment={STUDY}", *arguments.overrides, f"paths.root_dir={folder}", *ALWAYS]
        subprocess.run([sys.executable, "-m", "medssr.commands.pipeline", "-m", *words], check=True)
    runs, _ = find_study(STUDY, folder / "logs")
    by_model = {model: lengths(runs, model) for model in ("tiny_qwen3", "tiny_llama")}
    by_model = {model: of_model for model, of_model in by_model.items() if of_model}
    for model, of_model in by_model.items():
        print(f"## {model}", markdown(table(of_model)), sep="\n")
        write_csv(table(of_model).reset_index(), folder / f"{model}.csv")
    plot(by_model, folder / "result.png")


if __name__ == "__main__":
    main()
