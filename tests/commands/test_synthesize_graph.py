"""Tests medssr-synthesize with generator=graph: exact shares, the same bytes after a stop, and the benchmark."""

from __future__ import annotations

import pytest
from support.helpers import typed

from medssr.benchmarks import load_benchmark
from medssr.commands.synthesize import synthesize
from medssr.errors import InputError
from medssr.questions import read_questions
from medssr.synthesis.graph_questions import GraphGenerator

pytestmark = pytest.mark.slow


def run(folder, *overrides):
    return synthesize(
        typed("synthesize", f"paths.root_dir={folder}", "extras.progress_bar=false", "corpus=builtin", *overrides)
    )


def test_the_share_is_exact_and_a_stopped_run_ends_with_the_same_bytes(tmp_path, monkeypatch):
    settings = ["generator=graph", "synthesis.num_questions=60", "synthesis.rare_share=0.35"]
    whole = run(tmp_path / "whole", *settings)
    questions = list(read_questions(whole.path("questions.jsonl")))
    assert sum(question.is_rare for question in questions) == 21
    assert all(question.answer is None and question.provenance["truth"] in question.options for question in questions)

    write, written = GraphGenerator._write, []

    def stops(generator, draw):
        written.append(draw.slot)
        if len(written) == 30:
            raise KeyboardInterrupt
        return write(generator, draw)

    monkeypatch.setattr(GraphGenerator, "_write", stops)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", *settings)
    assert not list((tmp_path / "stopped").glob("artifacts/synthesize/*/manifest.json"))
    monkeypatch.undo()
    resumed = run(tmp_path / "stopped", *settings)
    for name in ("questions.jsonl", "rejected.jsonl"):
        assert resumed.path(name).read_bytes() == whole.path(name).read_bytes()


def test_the_benchmark_has_answers_and_diseases_that_training_never_names(tmp_path):
    made = run(tmp_path, "experiment=rare_benchmark", "synthesis.num_questions=30")
    benchmark = list(load_benchmark(made.path("questions.jsonl")))
    assert len(benchmark) == 30
    assert all(question.answer in question.options and question.is_rare for question in benchmark)
    assert not any("truth" in question.provenance for question in benchmark)
    training = run(tmp_path, "generator=graph", "synthesis.num_questions=60", "synthesis.rare_share=1.0")
    asked = {question.entity for question in read_questions(training.path("questions.jsonl"))}
    assert not asked & {question.entity for question in benchmark}
    # The facts of the other generators keep to the same split.
    grounded = run(tmp_path, "synthesis.held_out_share=0.2", "synthesis.num_questions=60", "synthesis.rare_share=1.0")
    asked = {question.entity for question in read_questions(grounded.path("questions.jsonl"))}
    assert not asked & {question.entity for question in benchmark}


@pytest.mark.parametrize(
    ("command", "overrides", "message"),
    [
        ("synthesize", ["synthesis.split=held_out"], r"synthesis\.split: held_out, but no disease is held out"),
        (
            "synthesize",
            ["synthesis.split=held_out", "synthesis.held_out_share=0.2"],
            r"synthesis\.split: held_out, but synthesis\.rare_share=0\.5",
        ),
        ("synthesize", ["synthesis.held_out_share=1"], r"synthesis\.held_out_share: 1\.0"),
        (
            "pipeline",
            ["synthesis.split=held_out", "synthesis.held_out_share=0.2", "synthesis.rare_share=1"],
            r"synthesis\.split: held_out, but a pipeline trains",
        ),
    ],
)
def test_splits_that_cannot_be_are_refused(command, overrides, message):
    with pytest.raises(InputError, match=message):
        typed(command, *overrides)
