"""medssr-pipeline on all devices of a node in one command: labels and answers from two servers, training by two."""

from __future__ import annotations

from pathlib import Path

from support.trainers import start, trainers

import medssr
from medssr.questions import read_questions, write_questions
from medssr.reports.runs import read_run

SETTINGS = ["debug=quick", "schedule=selfsup_only", "synthesis.num_questions=20"]


def run_pipeline(folder: Path, *overrides: str) -> Path:
    """Runs the pipeline from questions to report, and returns the folder of the run."""
    benchmark = Path(medssr.__file__).parent / "resources" / "questions" / "evaluation.jsonl"
    folder.mkdir()
    write_questions(folder / "benchmark.jsonl", list(read_questions(benchmark))[::10])
    places = [f"benchmark.path={folder}/benchmark.jsonl", f"hydra.run.dir={folder}/run"]
    process = start("pipeline", *SETTINGS, *places, *overrides, folder=folder)
    output, _ = process.communicate()
    assert process.returncode == 0, output[-6000:]
    assert "Traceback" not in output
    return folder / "run"


def contents(folder: Path, pattern: str) -> list[bytes]:
    return sorted(file.read_bytes() for file in folder.glob(f"artifacts/{pattern}"))


def accuracies(run: Path) -> dict[str, float]:
    """The accuracy of each model, from the results of the run."""
    models = read_run(run).record.models
    return {model.name: score.slices["all"].accuracy.value for model in models for score in model.benchmarks.values()}


def test_two_trainers_and_two_servers_reach_what_one_process_does(tmp_path):
    one = run_pipeline(tmp_path / "one", *trainers(None), "rollout=vllm")
    two = run_pipeline(tmp_path / "two", *trainers("fsdp2"), "rollout=vllm_node", "rollout.num_servers=2")
    assert list(accuracies(two)) == ["base", "stage1_selfsup"]
    assert accuracies(two) == accuracies(one)
    for pattern in ("pseudo_label/*/votes.jsonl", "evaluate/*/predictions-*.jsonl"):
        assert contents(tmp_path / "two", pattern) == contents(tmp_path / "one", pattern) != []
