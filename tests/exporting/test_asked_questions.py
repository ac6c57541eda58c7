"""Benchmarks for inspect-ai and verifiers, which ask a server of a tiny policy; that needs them (make test-export)."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.helpers import typed
from support.policy_server import running_policy
from transformers import AutoTokenizer

from medssr.commands.evaluate import evaluate
from medssr.commands.export import export
from medssr.errors import InputError
from medssr.exporting.conversations import chat_token_ids
from medssr.models.policy import Policy, load_policy
from medssr.questions import Question, read_questions, write_questions
from medssr.resources import RESOURCES

pytestmark = pytest.mark.slow

NUM_QUESTIONS = 24
# A few questions are cut in the middle of their answer.
SETTINGS = ["protocol=greedy", "protocol.max_new_tokens=20"]


@dataclass(frozen=True, slots=True)
class Workspace:
    """Questions, the tiny policy's answers by medssr-evaluate, and an export for each framework."""

    folder: Path
    policy: Policy
    questions: list[Question]
    predictions: list[dict[str, Any]]

    def export(self, target: str, *overrides: str) -> Path:
        config = typed("export", f"experiment={target}", *self._settings(), *overrides)
        return export(config).path(f"for_{target}")

    def _settings(self) -> list[str]:
        return settings(self.folder)

    def is_right(self) -> dict[str, bool]:
        return {item["question_id"]: item["answers"][0]["letter"] == item["gold"] for item in self.predictions}

    def letters(self) -> dict[str, str | None]:
        return {item["question_id"]: item["answers"][0]["letter"] for item in self.predictions}

    def is_truncated(self) -> dict[str, bool]:
        return {item["question_id"]: item["answers"][0]["is_truncated"] for item in self.predictions}


def settings(folder: Path) -> list[str]:
    file = folder / "toy.jsonl"
    return ["model=tiny_qwen3", f"benchmark.path={file}", f"paths.root_dir={folder}", *SETTINGS]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("asked")
    questions = list(read_questions(RESOURCES / "questions" / "evaluation.jsonl"))[::29][:NUM_QUESTIONS]
    write_questions(folder / "toy.jsonl", questions)
    config = typed("evaluate", "benchmark=released", *settings(folder))
    lines = evaluate(config).path("predictions-toy.jsonl").read_text(encoding="utf-8").splitlines()
    return Workspace(folder, load_policy(config.model), questions, [json.loads(line) for line in lines])


def test_the_conversations_are_the_policys_prompts_and_hold_no_hidden_truth(workspace: Workspace) -> None:
    folder = workspace.export("inspect")
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    records = [json.loads(line) for line in (folder / "questions" / "toy.jsonl").read_text("utf-8").splitlines()]
    prompts = workspace.policy.encode(workspace.questions, 20, "toy.jsonl")
    assert [chat_token_ids(record["messages"], tokenizer) for record in records] == prompts
    assert [record["prompt_sha256"] for record in records] == [row["prompt_sha256"] for row in workspace.predictions]
    assert all("provenance" not in record for record in records)


def test_a_setting_of_the_protocol_without_a_counterpart_is_refused_by_name(workspace: Workspace) -> None:
    for overrides, message in [
        (["protocol.second_pass=true"], r"protocol\.second_pass: inspect-ai has no counterpart of True; set it to F"),
        (["protocol.num_orders=4"], r"protocol\.num_orders: inspect-ai has no counterpart of 4; set it to 1"),
        (["protocol=loglikelihood", "protocol.max_new_tokens=0"], r"protocol\.kind: inspect-ai has no .* of letters"),
    ]:
        with pytest.raises(InputError, match=message):
            workspace.export("inspect", *overrides)


def test_inspect_scores_each_question_as_here(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    inspect_ai = pytest.importorskip("inspect_ai", reason="make test-export")
    monkeypatch.setenv("LOCAL_API_KEY", "none")
    monkeypatch.setenv("INSPECT_LOG_DIR", str(workspace.folder / "logs"))
    folder = workspace.export("inspect")
    with running_policy(workspace.policy, AutoTokenizer.from_pretrained(folder / "tokenizer")) as served:
        (result,) = inspect_ai.eval(
            f"{folder / 'inspect_tasks.py'}@medssr",
            model="openai-api/local/tiny",
            model_base_url=served.url,
            display="none",
        )
    assert result.status == "success", result.error
    scores = {sample.id: sample.scores["extracted_letter"] for sample in result.samples}
    assert {name: score.answer for name, score in scores.items()} == workspace.letters()
    assert {name: score.value == "C" for name, score in scores.items()} == workspace.is_right()
    assert result.results.scores[0].metrics["accuracy"].value == pytest.approx(
        sum(workspace.is_right().values()) / NUM_QUESTIONS
    )
    assert {call["max_tokens"] for call in served.calls} == {20}


def test_verifiers_scores_each_question_as_here(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("verifiers", reason="make test-export")
    import asyncio

    from verifiers.v1.cli.eval.runner import run_eval
    from verifiers.v1.configs.cli.eval import EvalConfig

    folder = workspace.export("verifiers")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("LOCAL_API_KEY", "none")
    sampling = tomllib.loads((folder / "sampling.toml").read_text(encoding="utf-8"))
    with running_policy(workspace.policy, AutoTokenizer.from_pretrained(folder / "tokenizer")) as served:
        config = EvalConfig.model_validate(
            {
                "env": {"taskset": {"id": "medssr-questions"}},
                "model": "tiny",
                "client": {"base_url": served.url, "api_key_var": "LOCAL_API_KEY"},
                "output_dir": str(workspace.folder / "outputs"),
                "push": False,
                "rich": None,
                **sampling,
            }
        )
        episodes = asyncio.run(run_eval(config))
    traces = {trace.task.data.id: trace for episode in episodes for trace in episode.traces}
    assert [error for episode in episodes for error in episode.errors] == []
    is_right, is_cut = workspace.is_right(), workspace.is_truncated()
    assert {name: bool(trace.metrics["is_right"]) for name, trace in traces.items()} == is_right
    # A cut completion has no reward in training, whatever it says.
    rewards = {name: is_right[name] and not is_cut[name] for name in is_right}
    assert {name: bool(trace.reward) for name, trace in traces.items()} == rewards
    assert any(is_cut.values()) and not all(is_cut.values())
