"""Compares all methods: chooses each one's learning rate on a development seed, trains three seeds, writes the report.

    python experiments/comparators/run.py FOLDER

The same command goes on where it was interrupted. Further words are overrides of all pipelines; `--methods`,
`--models`, `--seeds` and `--rates` take a part of the study.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from figures import plot_reward_accuracy, plot_tokens
from hydra.core.override_parser.overrides_parser import OverridesParser
from measures import facts_asked, measure
from tables import comparison_table, search_table, training_table

from medssr.config.catalog import CONF_DIR
from medssr.questions import read_questions, write_questions
from medssr.reports.render import markdown, write_csv
from medssr.reports.runs import Run
from medssr.reports.studies import find_study
from medssr.resources import RESOURCES
from medssr.sweeps.running import combinations

STUDY, SEARCH = "comparators", "comparators_search"
EVALUATION, HUMAN = RESOURCES / "questions" / "evaluation.jsonl", RESOURCES / "questions" / "human.jsonl"
# Every so many questions of the evaluation one is for the choice of the learning rate, and counts in no result.
DEVELOPMENT_EVERY = 4
DEVELOPMENT_SEED = 0
SIZES = ("scale=small", "grpo.num_steps=24", "stages.1.settings.num_steps=8", "grpo.num_prompts_per_step=24")
ALWAYS = ("trainer=cpu", "logger=csv", "extras.progress_bar=false", f"synthesis.benchmark_path={EVALUATION}", *SIZES)

Variants = Mapping[str, Sequence[str]]
# By method and model, the accuracy on the development questions of each learning rate.
Objectives = dict[tuple[str, str], dict[float, float]]


def all_variants() -> dict[str, list[str]]:
    """Returns the overrides of each method of the study."""
    content = yaml.safe_load((CONF_DIR / "experiment" / f"{STUDY}.yaml").read_text(encoding="utf-8"))
    return dict(content["hydra"]["sweeper"]["variants"])


def write_splits(folder: Path) -> tuple[Path, Path]:
    """Writes the questions of the evaluation as development and test questions, and returns both files."""
    questions = list(read_questions(EVALUATION))
    development = [question for number, question in enumerate(questions) if number % DEVELOPMENT_EVERY == 0]
    test = [question for number, question in enumerate(questions) if number % DEVELOPMENT_EVERY]
    files = folder / "development.jsonl", folder / "test.jsonl"
    for file, part in zip(files, (development, test), strict=True):
        if not file.is_file():
            write_questions(file, part)
    return files


def sweep(folder: Path, variants: Variants, overrides: Sequence[str], num_jobs: int) -> dict[frozenset[str], str]:
    """Runs the pipelines of a sweep that are not done, and returns the method of each by its overrides.

    Args:
        folder: Where artefacts and logs go.
        variants: The overrides of each method that is run.
        overrides: Those of the command line, some with several values.
        num_jobs: Number of pipelines side by side.

    Raises:
        CalledProcessError: When a pipeline fails.
    """
    left_out = [f"~hydra.sweeper.variants.{name}" for name in all_variants() if name not in variants]
    chosen = [f"hydra.sweeper.variants.{name}={json.dumps(list(variant))}" for name, variant in variants.items()]
    words = [f"experiment={STUDY}", *overrides, f"paths.root_dir={folder}"]
    launcher = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={num_jobs}"] if num_jobs > 1 else []
    command = [sys.executable, "-m", "medssr.commands.pipeline", "-m", *words, *left_out, *chosen, *launcher]
    subprocess.run(command, check=True)
    parser = OverridesParser.create()
    return {
        frozenset(job): name
        for name, variant in variants.items()
        for job in combinations(parser, [], {name: variant}, words)
    }


def searched(runs: Sequence[Run], methods: Mapping[frozenset[str], str]) -> Objectives:
    """Returns the accuracy on the development questions by method, model and learning rate."""
    objectives: Objectives = {}
    for run in runs:
        each = measure(run, methods)
        objectives.setdefault((each.method, each.family), {})[each.learning_rate] = run.objective
    return objectives


def runs_of(study: str, folder: Path, methods: Mapping[frozenset[str], str]) -> list[Run]:
    """Returns the finished runs of a study that are of these methods, without those of other settings."""
    runs, _ = find_study(study, folder / "logs")
    return [run for run in runs if frozenset(run.record.overrides) in methods]


def report(folder: Path, runs: Sequence[Run], methods: Mapping[frozenset[str], str]) -> None:
    """Writes the tables and figures of each model."""
    order = list(all_variants())
    measured = sorted((measure(run, methods) for run in runs), key=lambda each: order.index(each.method))
    asked = facts_asked(runs, HUMAN)
    for family in dict.fromkeys(each.family for each in measured):
        of_family = [each for each in measured if each.family == family]
        text = [f"## {family}\n"]
        for name, table in (
            ("comparison", comparison_table(of_family, asked)),
            ("training", training_table(of_family, asked)),
        ):
            write_csv(table.reset_index(), folder / f"{name}_{family}.csv")
            text.append(markdown(table))
        (folder / f"{family}.md").write_text("\n".join(text), encoding="utf-8")
        plot_tokens(of_family, asked, folder / f"tokens_{family}.png")
        plot_reward_accuracy(of_family, folder / f"reward_accuracy_{family}.png")


def main() -> None:
    """Runs the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("overrides", nargs="*", help="overrides of all pipelines")
    parser.add_argument("--methods", default=",".join(all_variants()))
    parser.add_argument("--models", default="tiny_qwen3,tiny_llama")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--rates", default="2e-4,6e-4")
    parser.add_argument("--jobs", type=int, default=2, help="pipelines side by side, each with its share of the cores")
    arguments = parser.parse_intermixed_args()
    folder = arguments.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    development, test = write_splits(folder)
    variants = {name: all_variants()[name] for name in arguments.methods.split(",")}
    always, jobs = [*ALWAYS, *arguments.overrides], arguments.jobs
    rates = [f"seed={DEVELOPMENT_SEED}", f"model={arguments.models}", f"optim.optimizer.lr={arguments.rates}"]
    methods = sweep(folder, variants, [*always, f"study={SEARCH}", f"benchmark.path={development}", *rates], jobs)
    objectives = searched(runs_of(SEARCH, folder, methods), methods)
    (folder / "search.md").write_text(markdown(search_table(objectives)), encoding="utf-8")
    methods = {}
    for model in arguments.models.split(","):
        rated = {}
        for name, variant in variants.items():
            by_rate = objectives[name, model]
            rated[name] = [*variant, f"optim.optimizer.lr={max(by_rate, key=by_rate.__getitem__):g}"]
        final = [f"study={STUDY}", f"benchmark.path={test}", f"model={model}", f"seed={arguments.seeds}"]
        methods |= sweep(folder, rated, [*always, *final], jobs)
    report(folder, runs_of(STUDY, folder, methods), methods)
    print(f"report: {folder}/*.md, {folder}/*.png")


if __name__ == "__main__":
    main()
