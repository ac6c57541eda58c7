"""medssr push: what would go to the hub, what never does, and the upload to a hub on this machine."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, constants
from support.evaluations import QUESTIONS, letters
from support.helpers import toy_question, typed
from support.hub_server import COMMIT, running_hub

from medssr.artifacts import Step
from medssr.benchmarks.suite import Subset
from medssr.commands.store import pushing
from medssr.errors import InputError
from medssr.evaluation.results_io import EvaluatedModel, EvaluationResults
from medssr.evaluation.scoring import Prediction, score
from medssr.hub.cards import settings_block
from medssr.hub.dataset_card import write_dataset_card
from medssr.hub.model_card import write_model_card
from medssr.hub.model_index import write_model_index
from medssr.hub.revisions import at_cached_commit, at_commit
from medssr.manifests import Artifact
from medssr.questions import write_questions

NAME = "me/model"
PROTOCOL = {"name": "greedy", "num_samples": 2, "temperature": 0.0, "max_new_tokens": 8}
SUBSET = Subset("12", 12, "ab" * 32, "toy.jsonl", None, None)


@cache
def composed(command: str) -> Any:
    """The configuration of a command, composed once."""
    return typed(command, *(["data.path=questions.jsonl"] if command == "train" else []))


@dataclass
class Model:
    path: str


@dataclass
class Evaluation:
    """The part of an evaluation's configuration that names its model."""

    model: Model


class Project:
    """A folder of artefacts: a training, an evaluation of its model, a question set."""

    def __init__(self, root: Path):
        self.root, self.artifacts = root, root / "artifacts"
        self.folders = [f"paths.artifact_dir={self.artifacts}", f"paths.log_dir={root / 'logs'}"]

    def config(self, command: str) -> Any:
        config = composed(command)
        return replace(config, paths=replace(config.paths, artifact_dir=str(self.artifacts), artifact_stores=[]))

    def train(self, **files: str) -> Artifact:
        config = self.config("train")
        config = replace(config, data=replace(config.data, path=str(self.questions())))

        def build(directory: Path) -> dict[str, int]:
            for name, text in ({"config.json": "{}", "model.safetensors": "weights"} | files).items():
                (directory / "model" / name).parent.mkdir(parents=True, exist_ok=True)
                (directory / "model" / name).write_text(text)
            (directory / "metrics.csv").write_text("step\n1\n")
            write_model_card(config, directory)
            return {}

        return Step.of("train", config).run(build)

    def questions(self) -> Path:
        file = self.root / "labelled.jsonl"
        if not file.exists():
            write_questions(file, QUESTIONS)
        return file

    def evaluate(self, model: Path) -> Artifact:
        answers = letters(9)
        predictions = [Prediction(question.id, answers[question.id], ["x", "x"]) for question in QUESTIONS]

        def build(directory: Path) -> dict[str, int]:
            scored = score(QUESTIONS, predictions)
            results = asdict(EvaluationResults(EvaluatedModel("m"), PROTOCOL, {"toy": scored}))
            results["benchmarks"]["toy"]["subset"] = asdict(SUBSET)
            (directory / "results.json").write_text(json.dumps(results))
            write_model_index(directory, "model", results)
            return {}

        return Step("evaluate", Evaluation(Model(str(model))), self.artifacts).run(build)

    def synthesize(self) -> Artifact:
        config = self.config("synthesize")

        def build(directory: Path) -> dict[str, int]:
            questions = [toy_question(0, None), replace(toy_question(1, None), options={"A": "x", "B": "y", "C": "z"})]
            write_questions(directory / "questions.jsonl", questions)
            (directory / "calls.jsonl").write_text('{"key": "sent"}\n')
            write_dataset_card("synthesize", config, directory, len(questions))
            return {}

        return Step.of("synthesize", config).run(build)

    def push(self, monkeypatch, *words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["medssr-push", *words, *self.folders])
        pushing.main()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the hub without a model; no commit is known."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MEDSSR_HUB_COMMITS", "{}")


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with running_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        yield hub


@pytest.mark.slow
def test_a_dry_run_lists_files_and_card_and_sends_nothing(project, hub, monkeypatch, capsys):
    trained = project.train()
    evaluated = project.evaluate(trained.path("model"))
    project.push(monkeypatch, trained.fingerprint[:8], "--repo", NAME, "--dataset", "me/questions")
    shown = capsys.readouterr().out
    assert shown.startswith(f"model {NAME} (public):\n")
    assert [line.split()[-1] for line in shown.splitlines()[1:4]] == ["README.md", "config.json", "model.safetensors"]
    assert "metrics.csv" not in shown
    assert "evaluations on the card: 1" in shown
    assert hub.asked == []
    # 9 of 12 questions are right in both samples; Wilson's interval of 9 of 12.
    card = ModelCard(shown.partition("README.md:\n\n")[2])
    (result,) = [item for item in card.data.eval_results if item.metric_name == "Accuracy"]
    assert (result.dataset_name, result.metric_value, result.metric_type) == ("toy", 0.75, "accuracy")
    assert result.metric_args["interval_95"] == pytest.approx([0.4677, 0.9111], abs=1e-4)
    assert "| toy | all | 12 | 0.750 | 0.468 to 0.911 |" in card.text
    assert (card.data.datasets, card.data.license, card.data.base_model) == (["me/questions"], "apache-2.0", None)
    # The artefacts are as they were.
    for artifact in (trained, evaluated):
        assert artifact.damages(artifact.hashes, computes_again=True) == []


def test_the_card_on_disk_has_no_results_and_is_the_same_for_the_same_settings(project, tmp_path):
    trained = project.train()
    text = (trained.path("model") / "README.md").read_text(encoding="utf-8")
    assert "No evaluation is known" in text
    assert str(tmp_path) not in text
    assert trained.manifest["inputs"]["data.path"] in text
    again = project.train().path("model") / "README.md"
    assert again.read_text(encoding="utf-8") == text


def test_a_card_names_no_server_of_the_network():
    server = {"base_url": "http://node7:8000/v1", "api_key_env": "NODE_KEY", "temperature": 1.0, "seed": None}
    shown = settings_block({"generator": server, "judges": [server], "model": {"path": "x"}})
    assert shown == "```yaml\ngenerator:\n  temperature: 1.0\njudges:\n- temperature: 1.0\n```"


@pytest.mark.slow
def test_a_card_of_another_version_gets_results_too(project, monkeypatch, capsys):
    trained = project.train()
    project.evaluate(trained.path("model"))
    monkeypatch.setattr("medssr.hub.model_card._NO_RESULTS", "None is known.")
    project.push(monkeypatch, str(trained.directory), "--repo", NAME)
    assert "| toy | all | 12 | 0.750 |" in capsys.readouterr().out


@pytest.mark.slow
def test_an_upload_brings_what_the_dry_run_showed(project, hub, monkeypatch, capsys):
    trained = project.train()
    project.push(monkeypatch, str(trained.directory), "--repo", NAME, "--private", "--yes")
    assert f"uploaded: {hub.url}/{NAME}/commit/{COMMIT}" in capsys.readouterr().out
    assert hub.private == {NAME}
    assert set(hub.repos[NAME]) == {"README.md", "config.json", "model.safetensors"}
    assert hub.repos[NAME]["model.safetensors"] == b"weights"


@pytest.mark.slow
def test_a_public_repository_gets_nothing_that_is_to_be_private(project, hub, monkeypatch, capsys):
    hub.repos[NAME] = {}
    with pytest.raises(SystemExit) as end:
        project.push(monkeypatch, str(project.train().directory), "--repo", NAME, "--private", "--yes")
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(f"--private: {NAME} is there and public; nothing was uploaded")
    assert hub.repos[NAME] == {}


@pytest.mark.slow
def test_weights_of_another_model_are_not_left_beside_the_new_ones(project, hub, monkeypatch, capsys):
    hub.repos[NAME] = dict.fromkeys(("model.safetensors", "adapter/adapter_model.safetensors", "notes.md"), b"old")
    with pytest.raises(SystemExit):
        project.push(monkeypatch, str(project.train().directory), "--repo", NAME, "--yes")
    assert f"--repo: {NAME} has adapter/adapter_model.safetensors, which" in capsys.readouterr().err
    assert set(hub.repos[NAME].values()) == {b"old"}


@pytest.mark.slow
def test_a_question_set_goes_without_what_else_its_folder_holds(project, hub, monkeypatch, capsys, tmp_path):
    import datasets

    made = project.synthesize()
    project.push(monkeypatch, str(made.directory), "--repo", "me/questions", "--yes")
    assert set(hub.repos["me/questions"]) == {"README.md", "questions.jsonl"}
    for name, content in hub.repos["me/questions"].items():
        (tmp_path / "down" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "down" / name).write_bytes(content)
    for folder in (tmp_path / "down", made.directory):
        rows = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / folder.name / ".cache"))
        assert rows["options"][1] == {"A": "x", "B": "y", "C": "z"}
        assert list(rows["options"][0]) == ["A", "B"]
        assert rows["answer"][:] == [None, None]


@pytest.mark.slow
@pytest.mark.parametrize("private", ["path", "sk-very-secret", 'sk-very-s\u00e9cret"'])
def test_paths_and_keys_of_this_machine_stay_here(project, monkeypatch, capsys, private):
    monkeypatch.setenv("SOME_API_KEY", private if private != "path" else "sk-very-secret")
    private = str(project.artifacts / "corpus.jsonl") if private == "path" else private
    with pytest.raises(SystemExit):
        trained = project.train(**{"tokenizer_config.json": json.dumps({"a": 1, "from": private}, indent=1)})
        project.push(monkeypatch, str(trained.directory), "--repo", NAME)
    shown = capsys.readouterr()
    assert "tokenizer_config.json" in shown.err and "line 3" in shown.err
    assert "sk-very" not in shown.err + shown.out


@pytest.mark.slow
def test_adapters_name_neither_a_folder_of_this_machine_nor_another_base(project, hub, monkeypatch):
    settings = json.dumps({"base_model_name_or_path": "artifacts/train/ab/model", "r": 8})
    trained = project.train(**{"adapter/adapter_config.json": settings})
    project.push(monkeypatch, str(trained.directory), "--repo", NAME, "--yes")
    uploaded = json.loads(hub.repos[NAME]["adapter/adapter_config.json"])
    assert uploaded == {"base_model_name_or_path": None, "r": 8}


@pytest.mark.slow
def test_a_hub_that_refuses_or_is_not_there_is_said_plainly(project, hub, monkeypatch, capsys):
    trained = project.train()
    hub.refuses = True
    with pytest.raises(SystemExit):
        project.push(monkeypatch, str(trained.directory), "--repo", NAME, "--yes")
    assert f"push: {hub.url} did not take {NAME}: " in capsys.readouterr().err
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SystemExit):
        project.push(monkeypatch, str(trained.directory), "--repo", NAME, "--yes")
    assert "push: http://127.0.0.1:9 did not take" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--repo", "a b"], "a b: is no name of a repository"),
        (["--repo", NAME, "two"], "push: name one artefact"),
    ],
)
def test_a_mistake_is_said(project, monkeypatch, capsys, words, message):
    with pytest.raises(SystemExit) as end:
        project.push(monkeypatch, str(project.train().directory), *words)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_an_evaluation_is_no_model_and_a_damaged_model_stays(project, monkeypatch, capsys):
    trained = project.train()
    evaluated = project.evaluate(trained.path("model"))
    with pytest.raises(SystemExit):
        project.push(monkeypatch, str(evaluated.directory), "--repo", NAME)
    assert "is of the step evaluate" in capsys.readouterr().err
    (trained.path("model") / "config.json").write_text("{ }")
    with pytest.raises(SystemExit):
        project.push(monkeypatch, str(trained.directory), "--repo", NAME)
    assert "was damaged or changed" in capsys.readouterr().err


def test_a_branch_counts_by_its_commit_also_where_the_hub_no_longer_answers(hub, monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    model = replace(composed("evaluate").model, path=NAME)
    hub.repos[NAME] = {"config.json": b"{}"}
    assert at_cached_commit(model) == model
    assert at_commit(model).revision == COMMIT
    assert at_commit(at_commit(model)) == at_commit(model)
    assert set(hub.asked) == {f"{way} /{NAME}/resolve/main/config.json" for way in ("HEAD", "GET")}
    assert len(hub.asked) == 2
    folder = replace(model, path=str(tmp_path))
    assert at_commit(folder) == at_cached_commit(folder) == folder
    for is_offline in (False, True):
        monkeypatch.setenv("MEDSSR_HUB_COMMITS", "{}")  # as in another process
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", is_offline)
        hub.repos.clear() if is_offline else setattr(hub, "refuses", True)
        assert at_commit(model).revision == at_cached_commit(model).revision == COMMIT


def test_a_process_that_another_one_started_takes_its_commit(monkeypatch):
    model = replace(composed("evaluate").model, path=NAME, revision="v1")
    monkeypatch.setenv("MEDSSR_HUB_COMMITS", json.dumps({f"{NAME}@v1": "ab" * 20, f"{NAME}@": None}))
    assert at_commit(model).revision == "ab" * 20
    assert at_commit(replace(model, revision=None)).revision is None


@pytest.mark.slow
def test_a_model_that_is_neither_here_nor_in_the_cache_is_refused_where_the_hub_does_not_answer(monkeypatch, caplog):
    model = replace(composed("evaluate").model, path=NAME, revision="v1")
    unreachable = "http://127.0.0.1:9/{repo_id}/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", unreachable)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # between its retries
    assert at_cached_commit(model) == model
    with caplog.at_level(logging.WARNING), pytest.raises(InputError, match=r"me/model: there is no such folder here"):
        at_commit(model)
    assert caplog.text == ""
