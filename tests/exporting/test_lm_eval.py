"""Exported benchmarks as lm-evaluation-harness reads and scores them; that needs it (make test-export)."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.exports import POLICIES
from support.helpers import random_policy, toy_question, typed

from medssr.commands.evaluate import evaluate
from medssr.commands.export import export
from medssr.errors import InputError
from medssr.manifests import Artifact
from medssr.questions import Question, write_questions

pytestmark = pytest.mark.slow

QUESTIONS = [
    Question(f"q{number}", f"  Which {word}, 漢字 {number}?", dict(zip(letters, "vwxyz", strict=False)), answer, "toy")
    for number, (word, letters, answer) in enumerate(
        [
            ("organ", "ABCD", "C"),
            ("{gene}", "AB", "A"),
            ("“drug”", "ABCDE", "E"),
            ("organ\nA. is no option", "ABC", "B"),
        ]
        * 3
    )
]
SHOTS = ["protocol.num_shots=2"]


@dataclass(frozen=True, slots=True)
class Workspace:
    """A model and a benchmark on disk."""

    folder: Path

    def tasks(self, *overrides: str) -> Path:
        """Exports the benchmark and returns the folder of the tasks."""
        config = typed("export", "experiment=lm_eval", "model=local", *self._settings(), *overrides)
        return export(config).path("for_lm_eval")

    def scores(self, *overrides: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Returns what medssr-evaluate finds: the scores of the benchmark, and its predictions."""
        artifact = self._evaluation(*overrides)
        results = json.loads(artifact.path("results.json").read_text(encoding="utf-8"))
        return results["benchmarks"]["toy"], lines_of(artifact.path("predictions-toy.jsonl"))

    def results(self, *overrides: str) -> dict[str, Any]:
        results: dict[str, Any] = json.loads(self._evaluation(*overrides).path("results.json").read_text("utf-8"))
        return results

    def _evaluation(self, *overrides: str) -> Artifact:
        progress = ["extras.progress_bar=false", "extras.num_threads=1"]
        return evaluate(typed("evaluate", "protocol=loglikelihood", *progress, *self._settings(), *overrides))

    def _settings(self) -> list[str]:
        files = {"model.path": "model", "benchmark.path": "toy.jsonl", "protocol.shots_path": "shots.jsonl"}
        return [f"paths.root_dir={self.folder}", *(f"{key}={self.folder / name}" for key, name in files.items())]


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def make_workspace(kind: str, folder: Path) -> Workspace:
    family, change = POLICIES[kind]
    policy = random_policy(family)
    policy = replace(policy, tokenizer=deepcopy(policy.tokenizer))
    change(policy.tokenizer)
    policy.save(folder / "model")
    write_questions(folder / "toy.jsonl", QUESTIONS)
    write_questions(folder / "shots.jsonl", [toy_question(number, "AB"[number % 2]) for number in range(3)])
    return Workspace(folder)


@pytest.fixture(params=POLICIES)
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    return make_workspace(request.param, tmp_path)


@pytest.fixture
def chat_workspace(tmp_path: Path) -> Workspace:
    return make_workspace("qwen3", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("shots", [[], SHOTS], ids=["no examples", "two examples"])
def test_a_context_and_a_choice_are_what_the_model_is_given(workspace, shots):
    folder = workspace.tasks(*shots)
    _, predictions = workspace.scores(*shots)
    rows = lines_of(folder / "questions" / "toy.jsonl")
    assert [row["id"] for row in rows] == [question.id for question in QUESTIONS]
    assert [row["prompt_sha256"] for row in rows] == [prediction["prompt_sha256"] for prediction in predictions]
    for row, question in zip(rows, QUESTIONS, strict=True):
        assert row["letters"][row["gold"]] == question.answer
        texts = [row["context"] + choice for choice in row["choices"]]
        assert all(
            text.endswith(f"The answer is {letter}") for text, letter in zip(texts, question.options, strict=True)
        )
        assert len({text[:-1] for text in texts}) == 1
        assert question.stem in texts[0]


def test_a_task_says_which_questions_it_asks_and_how(chat_workspace):
    task = yaml.safe_load((chat_workspace.tasks(*SHOTS) / "toy.yaml").read_text(encoding="utf-8"))
    scored, _ = chat_workspace.scores(*SHOTS)
    assert (task["task"], task["tag"], task["num_fewshot"]) == ("medssr_toy", "medssr", 0)
    assert task["metadata"]["subset"]["sha256"] == scored["subset"]["sha256"]
    assert task["metadata"]["protocol"]["prompt_form"] == "chat"
    assert task["metadata"]["protocol"]["shot_ids"] == ["q0", "q1"]


def test_a_mean_counts_each_benchmark_the_same(chat_workspace):
    write_questions(chat_workspace.folder / "suite" / "nejm.jsonl", QUESTIONS[:2])
    write_questions(chat_workspace.folder / "suite" / "lancet.jsonl", QUESTIONS[2:])
    members = "+benchmark.members={nejm: {files: [nejm]}, lancet: {files: [lancet]}, medqa: {files: [medqa]}}"
    means = "+benchmark.means={two: [nejm, lancet], all: [nejm, lancet, medqa]}"
    folder = chat_workspace.tasks(f"benchmark.path={chat_workspace.folder / 'suite'}", members, means)
    group = yaml.safe_load((folder / "mean_two.yaml").read_text(encoding="utf-8"))
    assert group["task"] == ["medssr_nejm", "medssr_lancet"]
    assert group["aggregate_metric_list"][0]["weight_by_size"] is False
    assert not (folder / "mean_all.yaml").exists()  # medqa is not there


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["protocol=greedy"], r"protocol\.kind: generate; tasks of lm-evaluation-harness compare letters"),
        (["protocol.num_orders=2"], r"protocol\.num_orders: 2"),
        (["targets=[lm_eval,trl]"], r"data: null, but verl and trl get a stage to train"),
    ],
)
def test_what_cannot_be_exported_is_refused(overrides, message):
    with pytest.raises(InputError, match=message):
        typed("export", "experiment=lm_eval", *overrides)


@pytest.mark.parametrize(("override", "message"), [("task_name=x", "benchmark"), ("benchmark=released", "protocol")])
def test_tasks_need_a_benchmark_and_a_protocol(override, message):
    with pytest.raises(InputError, match=f"{message}: null"):
        typed("export", "targets=[lm_eval]", override)


def test_bad_names_and_long_prompts_are_refused(chat_workspace):
    (chat_workspace.folder / "toy.jsonl").rename(chat_workspace.folder / "a b.jsonl")
    with pytest.raises(InputError, match=r'"a b\.jsonl" names a task'):
        chat_workspace.tasks(f"benchmark.path={chat_workspace.folder / 'a b.jsonl'}")
    write_questions(
        chat_workspace.folder / "long.jsonl", [Question("q", "long " * 600, {"A": "x", "B": "y"}, "A", "toy")]
    )
    with pytest.raises(InputError, match=r'long\.jsonl, field "stem": the prompt of question "q" has'):
        chat_workspace.tasks(f"benchmark.path={chat_workspace.folder / 'long.jsonl'}")


# From here on with lm-evaluation-harness itself.


def harness(workspace: Workspace, folder: Path, task: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the harness finds with the arguments that the exported README gives."""
    lm_eval = pytest.importorskip("lm_eval", reason="lm-eval is installed by `make test-export`")
    from lm_eval.tasks import TaskManager

    (model_args,) = [
        word.replace("MODEL", str(workspace.folder / "model"))
        for word in (folder / "README.md").read_text(encoding="utf-8").split()
        if word.startswith("pretrained=")
    ]
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(workspace.folder / "cache"))
    results: dict[str, Any] = lm_eval.simple_evaluate(
        model="hf",
        model_args=model_args,
        tasks=[task],
        task_manager=TaskManager(include_path=".", include_defaults=False),
        batch_size=4,
        device="cpu",
        log_samples=True,
        bootstrap_iters=0,
    )
    return results


@pytest.mark.slow
@pytest.mark.parametrize("shots", [[], SHOTS], ids=["no examples", "two examples"])
def test_the_harness_finds_the_same_question_by_question(workspace, shots, monkeypatch):
    folder = workspace.tasks(*shots)
    results = harness(workspace, folder, "medssr", monkeypatch)
    scored, predictions = workspace.scores(*shots)
    assert results["results"]["medssr_toy"]["acc,none"] == pytest.approx(
        scored["slices"]["all"]["accuracy"]["value"], abs=1e-6
    )
    samples = sorted(results["samples"]["medssr_toy"], key=lambda sample: sample["doc_id"])
    for sample, prediction in zip(samples, predictions, strict=True):
        (answer,) = prediction["answers"]
        assert sample["doc"]["id"] == prediction["question_id"]
        assert sample["acc"] == (answer["letter"] == prediction["gold"])
        logps = [float(logp) for (logp, _) in (response[0] for response in sample["resps"])]
        # Up to what the choices have in common: the harness may count more of the text as the choice.
        assert [logp - logps[0] for logp in logps] == pytest.approx(
            [logp - answer["letter_logps"]["A"] for logp in answer["letter_logps"].values()], abs=1e-3
        )


def test_the_harness_finds_the_same_mean(chat_workspace, monkeypatch):
    write_questions(chat_workspace.folder / "suite" / "nejm.jsonl", QUESTIONS[:2])
    write_questions(chat_workspace.folder / "suite" / "lancet.jsonl", QUESTIONS[2:])
    overrides = [
        f"benchmark.path={chat_workspace.folder / 'suite'}",
        "+benchmark.members={nejm: {files: [nejm]}, lancet: {files: [lancet]}}",
        "+benchmark.means={two: [nejm, lancet]}",
    ]
    harness_results = harness(chat_workspace, chat_workspace.tasks(*overrides), "medssr_mean_two", monkeypatch)
    results = chat_workspace.results(*overrides)
    mean = results["means"]["two"]["accuracy"]["value"]
    assert harness_results["results"]["medssr_mean_two"]["acc,none"] == pytest.approx(mean, abs=1e-6)
    assert mean != pytest.approx(
        sum(sample["acc"] for name in harness_results["samples"].values() for sample in name) / 12
    )
