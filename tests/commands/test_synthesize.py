"""Tests medssr-synthesize against a chat server: stopped by its budget, resumed, and the files that it writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from support.chat_server import KEY, ServerReply, running_server, varied_question_text
from support.commands import ROOT
from support.commands import run as run_command
from support.helpers import typed

from medssr.artifacts import fingerprint_parts
from medssr.commands.synthesize import synthesize
from medssr.errors import InputError
from medssr.questions import read_questions

pytestmark = pytest.mark.slow


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("TEST_API_KEY", KEY)
    with running_server() as server:
        server.answer = lambda prompt, _: ServerReply(varied_question_text(prompt))
        yield server


def overrides(server, folder, *more: str) -> list[str]:
    return [
        "generator=openai",
        f"generator.base_url={server.url}",
        "generator.model=tiny",
        "generator.api_key_env=TEST_API_KEY",
        "generator.max_concurrency=4",
        f"paths.root_dir={folder}",
        "extras.progress_bar=false",
        "synthesis.num_questions=20",
        *more,
    ]


def run(server, folder, *more: str):
    return synthesize(typed("synthesize", *overrides(server, folder, *more)))


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def finished_files(folder: Path) -> set[str]:
    names = {path.name for path in folder.glob("artifacts/synthesize/*/*")}
    return names & {"questions.jsonl", "rejected.jsonl", "manifest.json"}


def test_a_run_that_its_budget_stops_leaves_nothing_whole_and_goes_on_with_a_larger_one(server, tmp_path):
    prices = ["generator.prices.prompt=1e6", "generator.prices.completion=2e6"]  # 25 dollars an answer
    settings = [*overrides(server, tmp_path, *prices), "generator.budget.dollars=180", f"hydra.run.dir={tmp_path}/run"]
    for _ in range(2):
        _, log = run_command("synthesize", *settings, folder=tmp_path, code=2)
        assert "budget.dollars=180 does not cover another call: 126 tokens and 175.0000 dollars are spent" in log
        assert len(server.calls) == 7
    assert finished_files(tmp_path) == set()
    made = run(server, tmp_path, *prices, "generator.budget.dollars=1000")
    assert made.manifest["counts"]["num_questions"] == 20
    assert made.manifest["counts"]["usage"] == {"num_answers": 20, "tokens": 360, "dollars": 500.0}
    assert len(server.calls) == 20


def test_pace_and_money_are_no_part_of_the_fingerprint():
    def parts(*more: str):
        given = ["generator=openai", "generator.model=tiny", *more]
        return fingerprint_parts(asdict(typed("synthesize", *given)))

    same = ["generator.budget.dollars=5", "generator.prices.prompt=1", "generator.prices.completion=1"]
    same += ["generator.max_concurrency=3", "generator.timeout_s=7", "generator.max_retries=9"]
    assert parts(*same) == parts()
    assert parts("generator.temperature=0.5") != parts()


def test_the_provenance_says_how_a_question_was_made(server, tmp_path):
    made = run(server, tmp_path, "synthesis.rare_share=0.5")
    for question in read_questions(made.path("questions.jsonl")):
        provenance = question.provenance
        assert (provenance["generator"], provenance["model"], provenance["attempt"]) == ("openai", "tiny", 0)
        assert len(provenance["template_sha256"]) == len(provenance["prompt_sha256"]) == 64
        assert len(provenance["seeds"]) == 2
        assert provenance["is_injected"] == (provenance["rho"] < 0.5) == bool(provenance["passages"])
        assert provenance["is_injected"] == (question.entity is not None)
        assert "truth" not in provenance
    assert (
        len({question.provenance["template_sha256"] for question in read_questions(made.path("questions.jsonl"))}) == 1
    )


def test_rejected_drafts_are_tried_again_and_kept_with_their_reasons(server, tmp_path):
    refused = set()

    def answer(prompt, _):
        if len(refused) < 5:
            refused.add(prompt)
        return ServerReply(refusal="No.") if prompt in refused else ServerReply(varied_question_text(prompt))

    server.answer = answer
    made = run(server, tmp_path)
    counts = made.manifest["counts"]
    assert (counts["num_questions"], counts["num_unfilled"], counts["rejected"]) == (20, 0, {"refusal": 5})
    assert (counts["asked_rare_share"], counts["num_injected"] / 20) == (0.5, counts["achieved_rare_share"])
    assert (made.directory.parents[1] / "indexes" / counts["passages"] / "passages.jsonl").is_file()
    rejected = lines(made.path("rejected.jsonl"))
    assert [(line["reason"], line["detail"], line["attempt"]) for line in rejected] == [("refusal", "No.", 0)] * 5
    questions = lines(made.path("questions.jsonl"))
    retried = {f"synthetic-{line['slot']:07d}" for line in rejected}
    assert {line["id"] for line in questions if line["provenance"]["attempt"] == 1} == retried


def test_no_question_at_all_is_an_error_and_leaves_no_file(server, tmp_path):
    options = {"A": "liver", "B": "heart", "C": "lung", "D": "all of the above"}
    server.answer = lambda prompt, _: ServerReply(
        json.dumps(json.loads(varied_question_text(prompt)) | {"options": options})
    )
    with pytest.raises(InputError, match=r"all 40 drafts were rejected \({'all_or_none_of_the_above': 40}\)"):
        run(server, tmp_path, "synthesis.max_draws_per_question=2")
    assert finished_files(tmp_path) == set()


def test_a_server_whose_answers_are_never_questions_stops_the_run_early(server, tmp_path):
    server.answer = lambda prompt, _: ServerReply("How can I help you today?")
    with pytest.raises(InputError, match=r"no JSON object .* The answer: How can I help you today\?"):
        run(server, tmp_path, "synthesis.num_questions=200", "generator.max_concurrency=1")
    assert len(server.calls) == 20  # ten drafts, each with its repair


@pytest.mark.slow
def test_a_hostile_server_and_two_kills_change_nothing(tmp_path):
    script = ROOT / "experiments" / "hostile_server" / "run.py"
    command = [sys.executable, str(script), "--num-questions", "150", "--folder", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["num_questions"] == 150
