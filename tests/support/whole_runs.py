"""A run of the pipeline on disk with questions, votes and answers to read, made without a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import yaml
from support.evaluations import letters, write_run
from support.helpers import toy_question
from support.studies import write_manifest

from medssr.questions import write_questions
from medssr.reports.runs import Run, read_run

SEED = toy_question(900)


def write_whole_run(root: Path, evil: str = "", name: str = "one", num_right: tuple[int, ...] = (2, 9, 8)) -> Run:
    """Writes a run with two stages at `root/NAME`; `evil` is in all that models wrote.

    Args:
        root: Also has the folder of artefacts.
        evil: A text that the page has to escape.
        name: Of the run.
        num_right: How many of the twelve questions each of the three models has right.
    """
    artifacts, run_dir = root / "artifacts", root / "logs" / name
    synthetic, labelled = artifacts / "synthesize" / "a", artifacts / "pseudo_label" / "b"
    if not synthetic.exists():
        _write_synthetic(synthetic, evil)
        _write_votes(labelled)
    models = ("base", "first", "second")
    scores, folders = {}, {}
    for model, right in zip(models, num_right, strict=True):
        folders[model] = artifacts / "evaluate" / f"{name}-{model}"
        run = write_run(folders[model], "tiny", letters(right), text=f"{model} says {{}}. {evil}")
        write_manifest(folders[model], "evaluate", seconds=36)
        scores[model] = asdict(run.record.models[0])["benchmarks"]
    training = artifacts / "train" / f"{name}-first"
    write_manifest(training, "train", seconds=360, gpus=("H200", "H200"))
    metrics = "step,train/reward,train/num_tokens,time/step\n" + "".join(f"{n},0.{n + 3},100,5\n" for n in range(4))
    (training / "metrics.csv").write_text(metrics, encoding="utf-8")
    (run_dir / ".hydra").mkdir(parents=True)
    seeds = root / "seeds.jsonl"
    write_questions(seeds, [SEED])
    config = {"seed_questions": {"path": str(seeds)}, "study": None, "task_name": "pipeline"}
    (run_dir / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    record = {
        "schema_version": 2,
        "run": name,
        "overrides": [f"synthesis.rare_share=0.{len(name)}", "stages=[{name: first}]"],
        "config": {"model": "tiny", "seed": 1, "name": name},
        "models": [{"name": model, "benchmarks": scores[model]} for model in models],
        "training": [{"stage": "first", "metrics_file": str(training / "metrics.csv")}],
        "artifacts": {"synthesize": str(synthetic), "pseudo_label": str(labelled)}
        | {f"evaluate {model}": str(folder) for model, folder in folders.items()},
    }
    (run_dir / "results.json").write_text(json.dumps(record), encoding="utf-8")
    return read_run(run_dir)


def write_run_under_way(root: Path, name: str, models: Sequence[str] = ()) -> Path:
    """Writes a run of the pipeline that trains its stage "first", and returns its folder.

    Args:
        root: Also has the folder of artefacts, with those of `write_whole_run`.
        name: Of the run.
        models: Those that it has evaluated.
    """
    artifacts, run_dir = root / "artifacts", root / "logs" / name
    (run_dir / ".hydra").mkdir(parents=True)
    config = {
        "study": None, "task_name": "pipeline", "seed": 1, "model": {"path": "tiny"},
        "synthesis": {"rare_share": 0.5, "num_questions": 3}, "stages": [{"name": "first"}, {"name": "second"}],
    }  # fmt: skip
    (run_dir / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (run_dir / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump([f"grpo.beta=0.{len(name)}"]), encoding="utf-8")
    lines = [
        f"synthesize: already made, {artifacts}/synthesize/a",
        f"pseudo_label: started in {artifacts}/pseudo_label/b",
    ]
    for model in models:
        folder = artifacts / "evaluate" / f"{name}-{model}"
        write_run(folder, "tiny", letters(5), text=f"{model} says {{}}")
        write_manifest(folder, "evaluate", seconds=36)
        lines.append(f"evaluate: started in {folder}")
    training = artifacts / "train" / f"{name}-first"
    training.mkdir(parents=True)
    lines += [
        f"train: started in {training}",
        "2026-11-30 13:39:40 [4/7] first: 5 of 20 steps (25%), 2.24 steps/s, 7 s left, until 13:39:46; reward 1",
    ]
    (run_dir / "pipeline.log").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return run_dir


def write_metrics(root: Path, name: str, num_steps: int) -> None:
    """Writes what a run under way has logged of its first stage so far."""
    rows = "".join(f"{step},0.{step + 1},5\n" for step in range(num_steps))
    file = root / "artifacts" / "train" / f"{name}-first" / "metrics.csv"
    file.write_text(f"step,train/reward,time/step\n{rows}", encoding="utf-8")


def _write_synthetic(folder: Path, evil: str) -> None:
    write_manifest(folder, "synthesize", seconds=72, counts={"passages": "c/passages-d"})
    provenance = {"passages": ["corpus:1", "elsewhere:2"], "seeds": [SEED.id, "gone"], "truth": "A"}
    questions = [
        toy_question(number, None, entity="Fabry disease", is_rare=True, provenance=provenance) for number in range(3)
    ]
    write_questions(folder / "questions.jsonl", questions)
    rejected = {"slot": 7, "attempt": 1, "reason": "in_benchmark", "detail": f"q3 (score 0.9){evil}", "entity": None}
    rejected |= {"is_injected": False, "stem": f"Which is the rejected one? {evil}", "options": {"A": "x", "B": evil}}
    (folder / "rejected.jsonl").write_text(json.dumps(rejected) + "\n", encoding="utf-8")
    passages = folder.parents[1] / "indexes" / "c" / "passages-d"
    passages.mkdir(parents=True)
    (passages / "passages.jsonl").write_text(json.dumps({"id": "corpus:1", "text": f"GLA is at fault.{evil}"}) + "\n")


def _write_votes(folder: Path) -> None:
    counts = {"num_questions": 3, "num_kept": 1, "outcomes": {"kept": 1, "tied": 1, "below_band": 1}, "bands": []}
    write_manifest(folder, "pseudo_label", seconds=18, counts=counts)
    outcomes = [
        ("kept", "A", 0.75, {"A": 3, "B": 1}, 0),
        ("tied", None, None, {"A": 1, "B": 1}, 2),
        ("below_band", "B", 0.25, {"B": 1}, 3),
    ]
    lines = [
        json.dumps(
            {"question_id": f"q{number}", "outcome": outcome, "label": label, "agreement": agreement}
            | {"counts": counts, "num_invalid": num_invalid, "is_tied": outcome == "tied", "valid_share": 0.5}
        )
        for number, (outcome, label, agreement, counts, num_invalid) in enumerate(outcomes)
    ]
    (folder / "votes.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_questions(folder / "questions.jsonl", [toy_question(0, "A")])
