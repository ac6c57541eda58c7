"""Tests medssr-pipeline on two processes in one launch: both stages and all evaluations, as with one process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.processes import TORCHRUN, TWO, start_processes

import medssr
from medssr.questions import read_questions, write_questions
from medssr.reports.runs import read_run

pytestmark = pytest.mark.slow

RESOURCES = Path(medssr.__file__).parent / "resources"
PIPELINE = [sys.executable, "-m", "medssr.commands.pipeline"]
SETTINGS = [
    "debug=quick",
    "logger=csv",
    "extras.progress_bar=false",
    "extras.num_threads=1",
    "synthesis.num_questions=20",
    "grpo.num_steps=2",
    "callbacks.checkpoint.every_num_steps=1",
]


def accuracies(folder: Path, command: list[str]) -> dict[str, float]:
    """Runs the pipeline and returns the accuracy of each model."""
    folder.mkdir()
    questions = list(read_questions(RESOURCES / "questions" / "evaluation.jsonl"))[::10]
    write_questions(folder / "benchmark.jsonl", questions)
    places = [f"benchmark.path={folder}/benchmark.jsonl", f"paths.root_dir={folder}", f"hydra.run.dir={folder}/run"]
    process = start_processes([*command, *SETTINGS, *places], folder)
    _, log = process.communicate()
    assert process.returncode == 0, log
    assert "Traceback" not in log
    return {
        model.name: score.slices["all"].accuracy.value
        for model in read_run(folder / "run").record.models
        for score in model.benchmarks.values()
    }


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> dict[str, float]:
    """The accuracies with one process."""
    return accuracies(tmp_path_factory.mktemp("one") / "root", [*PIPELINE, "trainer=cpu"])


@pytest.mark.parametrize("launcher", [[], TORCHRUN], ids=["Lightning", "torchrun"])
def test_two_processes_reach_the_accuracy_of_one(one, tmp_path, launcher):
    two = accuracies(tmp_path / "two", [*launcher, *PIPELINE, *TWO])
    assert list(one) == ["base", "stage1_selfsup", "stage2_sup"]
    assert two == pytest.approx(one, abs=0.1)
    for step, number in {"train": 2, "evaluate": 3, "synthesize": 1, "pseudo_label": 1}.items():
        assert len(list((tmp_path / "two" / "artifacts" / step).glob("*/manifest.json"))) == number
