"""Tests that every command that takes questions reads released forms, and names file, line and field of a fault."""

from __future__ import annotations

import importlib
import json
import logging
import sys

import pytest

from medssr.errors import USER_FAULT

NO_MODEL = "model=local model.path=./nowhere"
# Command lines with the place of the question file. Each stops behind the reading of it, before a model is loaded.
COMMANDS = {
    "train data.path": f"train data.path=FILE {NO_MODEL}",
    "train probe.path": f"train data.path=GOOD probe=file probe.path=FILE probe.num_questions=1 {NO_MODEL}",
    "pseudo_label data.path": f"pseudo_label data.path=FILE {NO_MODEL}",
    "export data.path": f"export data.path=FILE {NO_MODEL}",
    "sft labels": f"sft demonstrations=labels demonstrations.path=FILE sft=stage optim=sft {NO_MODEL}",
    "sft file": f"sft demonstrations=file demonstrations.path=FILE sft=stage optim=sft {NO_MODEL}",
    "evaluate benchmark.path": f"evaluate benchmark.path=FILE {NO_MODEL}",
    "evaluate protocol.shots_path": f"evaluate protocol=few_shot protocol.shots_path=FILE {NO_MODEL}",
    "synthesize seed_questions.path": "synthesize seed_questions.path=FILE generator=openai generator.model=any",
}
FAULTS_ONLY = {
    "pipeline seed_questions.path": "pipeline seed_questions.path=FILE synthesis.num_questions=2",
    "synthesize synthesis.benchmark_path": "synthesize synthesis.num_questions=2 synthesis.benchmark_path=FILE",
    "audit data.path": "audit data.path=FILE",
    "retrieve questions.path": "retrieve corpus.path=GOOD questions.path=FILE qrels.path=GOOD",
}
ROWS = [
    {
        "question": f"Which vitamin is lacking in disease {number}?",
        "options": {"A": "Vitamin A", "B": "Vitamin C"},
        "answer_idx": "B",
        "answer": "Vitamin C",
        "completion": "The answer is B.",
    }
    for number in range(8)
]
FAULTS = {
    "half a surrogate pair": (
        '{"id": "1", "question": "Q \\ud83d?", "options": ["x", "y"], "label": "A"}\n',
        "half a surrogate",
    ),
    "NaN": ('{"id": "1", "question": NaN, "options": ["x", "y"], "label": "A"}\n', "NaN is no JSON value"),
    "a key twice": ('{"id": "1", "question": "Q?", "question": "R?", "options": ["x", "y"]}\n', "occurs twice"),
}


@pytest.fixture
def ended_with(tmp_path, monkeypatch, capsys):
    """Runs a command line in this process and returns its exit code and what it printed."""
    (tmp_path / "good.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    monkeypatch.setenv("MEDSSR_ROOT", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(line):
        command, *arguments = line.replace("FILE", "questions.jsonl").replace("GOOD", "good.jsonl").split(" ")
        monkeypatch.setattr(sys, "argv", [f"medssr-{command}", *arguments])
        handlers = logging.root.handlers[:]
        try:
            with pytest.raises(SystemExit) as ended:
                importlib.import_module(f"medssr.commands.{command}").main()
        finally:
            logging.root.handlers[:] = handlers
        return ended.value.code, "".join(capsys.readouterr())

    return run


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_released_form_is_read_and_named(ended_with, tmp_path, name):
    (tmp_path / "questions.jsonl").write_bytes((tmp_path / "good.jsonl").read_bytes())
    code, printed = ended_with(COMMANDS[name])
    assert "questions.jsonl: read as MedQA, JSONL" in printed
    assert (code, "Traceback" in printed) == (USER_FAULT, False)
    assert "./nowhere" in printed or "OPENAI_API_KEY" in printed


@pytest.mark.slow
@pytest.mark.parametrize("name", [*COMMANDS, *FAULTS_ONLY])
def test_half_a_surrogate_pair_is_named_with_file_line_and_field(ended_with, tmp_path, name):
    content, found = FAULTS["half a surrogate pair"]
    (tmp_path / "questions.jsonl").write_text(content, encoding="utf-8")
    code, printed = ended_with((COMMANDS | FAULTS_ONLY)[name])
    assert (code, "Traceback" in printed) == (USER_FAULT, False), printed
    assert 'questions.jsonl, line 1, field "question": ' in printed
    assert found in printed


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_ends_a_command_with_its_place(ended_with, tmp_path, fault):
    content, found = FAULTS[fault]
    (tmp_path / "questions.jsonl").write_text(content, encoding="utf-8")
    code, printed = ended_with(COMMANDS["pseudo_label data.path"])
    assert (code, "Traceback" in printed) == (USER_FAULT, False), printed
    assert 'questions.jsonl, line 1, field "question": ' in printed
    assert found in printed


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name in COMMANDS if not name.startswith(("pseudo_label", "synthesize", "sft file"))]
)
def test_what_needs_gold_answers_says_that_they_are_missing(ended_with, tmp_path, name):
    rows = [{"question": row["question"], "options": row["options"]} for row in ROWS]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    code, printed = ended_with(COMMANDS[name])
    assert (code, "Traceback" in printed) == (USER_FAULT, False), printed
    assert 'questions.jsonl, line 1, field "answer_idx": is missing or null' in printed


@pytest.mark.slow
def test_pseudo_labelling_needs_no_gold_answers(ended_with, tmp_path):
    rows = [{"question": row["question"], "options": row["options"]} for row in ROWS]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    _, printed = ended_with(COMMANDS["pseudo_label data.path"])
    assert "read as MedQA, JSONL, without gold answers" in printed
    assert "./nowhere" in printed


@pytest.mark.slow
def test_a_corpus_with_half_a_surrogate_pair_is_named(ended_with, tmp_path):
    (tmp_path / "corpus.jsonl").write_text('{"id": "d1", "title": "Fabry disease", "text": "Pain \\ud83d."}\n')
    code, printed = ended_with("synthesize corpus=jsonl corpus.path=corpus.jsonl")
    assert (code, "Traceback" in printed) == (USER_FAULT, False)
    assert 'corpus.jsonl, line 1, field "text": holds half a surrogate pair' in printed


@pytest.mark.slow
def test_diseases_that_are_left_out_stand_in_the_manifest_with_their_reasons(ended_with, tmp_path, shared_data):
    from support.helpers import typed

    from medssr.commands.synthesize import synthesize

    orphanet = shared_data / "inputs" / "orphanet_nonrare.jsonl"
    settings = [
        "entities=orphanet",
        f"entities.path={orphanet}",
        "entities.require_prevalence=false",
        "synthesis.num_questions=2",
        "seed_questions.path=good.jsonl",
        f"paths.root_dir={tmp_path}",
        "extras.progress_bar=false",
    ]
    counts = synthesize(typed("synthesize", *settings)).manifest["counts"]
    assert counts["entities_left_out"] == {"not rare in Europe": 1, "obsolete": 1}
    assert counts["num_entities"] == 5
