from __future__ import annotations

import json
import logging
import multiprocessing
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from support.helpers import grpo_config

from medssr.artifacts import Step, fingerprint_parts
from medssr.errors import InputError
from medssr.manifests import read_artifact
from medssr.utils import progress


@dataclass
class DataConfig:
    path: str


@dataclass
class ToyConfig:
    """The configuration of a step that makes `result.txt` from a file."""

    data: DataConfig
    size: int = 3
    paths: dict[str, str] = field(default_factory=dict)
    logger: dict[str, Any] | None = None
    extras: dict[str, Any] = field(default_factory=dict)
    callbacks: dict[str, Any] | None = None
    generator: dict[str, Any] = field(default_factory=dict)
    force: bool = False
    task_name: str = "toy"


@pytest.fixture
def config(tmp_path) -> ToyConfig:
    file = tmp_path / "input.txt"
    file.write_text("content")
    return ToyConfig(DataConfig(str(file)))


class Build:
    """Writes a result and counts how often it was asked to."""

    def __init__(self):
        self.num_calls = 0

    def __call__(self, directory: Path) -> dict[str, int]:
        self.num_calls += 1
        (directory / "result.txt").write_text("result")
        return {"num_lines": 1}


def fingerprint(config: Any, tmp_path: Path, name: str = "toy") -> str:
    return Step(name, config, tmp_path / "artifacts").run(Build()).fingerprint


def test_a_finished_step_is_not_run_again(config, tmp_path):
    build = Build()
    step = Step("toy", config, tmp_path / "artifacts")
    first, second = step.run(build), step.run(build)
    assert build.num_calls == 1
    assert first == second
    assert first.directory == tmp_path / "artifacts" / "toy" / first.fingerprint
    assert first.path("result.txt").read_text() == "result"


def test_an_interrupted_step_goes_on_with_what_is_left(config, tmp_path):
    step = Step("toy", config, tmp_path / "artifacts")
    contents = []

    def build(directory: Path) -> dict[str, int]:
        contents.append(sorted(path.name for path in directory.iterdir()))
        (directory / f"part-{len(contents)}").write_text("part")
        if len(contents) == 1:
            raise KeyboardInterrupt
        return {}

    with pytest.raises(KeyboardInterrupt):
        step.run(build)
    artifact = step.run(build)
    assert contents == [[], ["part-1"]]
    assert artifact.path("part-1").is_file()
    assert artifact.path("part-2").is_file()


def test_a_step_that_refuses_its_input_leaves_nothing(config, tmp_path):
    def refuse(directory: Path) -> dict[str, Any]:
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        Step("score", config, tmp_path).run(refuse)
    assert [path for path in (tmp_path / "score").iterdir() if path.is_dir()] == []


def test_an_interrupted_step_is_no_artefact(config, tmp_path):
    def build(directory: Path) -> dict[str, int]:
        (directory / "part").write_text("part")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        Step("toy", config, tmp_path).run(build)
    (part,) = tmp_path.glob("toy/*/part")
    with pytest.raises(InputError, match=r"manifest\.json"):
        read_artifact(part.parent)


def test_force_makes_it_anew_from_an_empty_folder(config, tmp_path):
    directory = Step("toy", config, tmp_path).run(Build()).directory
    (directory / "old.txt").write_text("old")
    build = Build()
    again = Step("toy", config, tmp_path, force=True).run(build)
    assert build.num_calls == 1
    assert again.directory == directory
    assert not again.path("old.txt").exists()


def test_what_decides_the_result_decides_the_fingerprint(config, tmp_path):
    other_size = replace(config, size=4)
    other_generator = replace(config, generator={"model": "a"})
    fingerprints = {fingerprint(settings, tmp_path) for settings in (config, other_size, other_generator)}
    fingerprints.add(fingerprint(config, tmp_path, name="another_step"))
    assert len(fingerprints) == 4


@pytest.mark.parametrize(
    "change",
    [
        {"paths": {"artifact_dir": "/elsewhere"}},
        {"logger": {"wandb": {"offline": False}}},
        {"extras": {"num_threads": 7}},
        {"callbacks": {"checkpoint": {"every_num_steps": 1}}},
        {"force": True},
        {"task_name": "other"},
        {"generator": {"ledger_dir": "/elsewhere"}},
    ],
)
def test_place_and_style_do_not_decide_the_fingerprint(config, tmp_path, change):
    base = replace(config, generator={"ledger_dir": "/here"})
    assert fingerprint(replace(base, **change), tmp_path) == fingerprint(base, tmp_path)


def test_an_input_counts_by_its_content(config, tmp_path):
    before = fingerprint(config, tmp_path)
    moved = tmp_path / "elsewhere" / "other_name.txt"
    moved.parent.mkdir()
    moved.write_text("content")
    assert fingerprint(replace(config, data=DataConfig(str(moved))), tmp_path) == before
    Path(config.data.path).write_text("other content")
    assert fingerprint(config, tmp_path) != before


def test_a_folder_counts_by_the_names_and_contents_of_its_files(config, tmp_path):
    def folder(name: str, **files: str) -> str:
        folder = tmp_path / name
        (folder / "below").mkdir(parents=True)
        for file, text in files.items():
            (folder / "below" / file).write_text(text)
        return fingerprint(replace(config, data=DataConfig(str(folder))), tmp_path)

    base = folder("base", a="1", b="2")
    assert folder("same", a="1", b="2") == base
    assert base not in {
        folder("content", a="1", b="3"),
        folder("name", a="1", c="2"),
        folder("more", a="1", b="2", c=""),
    }


def test_a_name_that_is_nothing_on_disk_counts_as_it_is(config, tmp_path):
    settings = [replace(config, data=DataConfig(name)) for name in ("hub/model-a", "hub/model-b")]
    assert fingerprint(settings[0], tmp_path) != fingerprint(settings[1], tmp_path)
    decisive, inputs = fingerprint_parts({"data": {"path": "hub/model-a"}})
    assert (decisive, inputs) == ({"data": {"path": "hub/model-a"}}, {})


def test_paths_deep_inside_are_found(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    _, inputs = fingerprint_parts({"a": {"b": [{"prompt_path": str(file)}, {"path": str(file)}]}, "n": {"name": "x"}})
    assert inputs.keys() == {"a.b.0.prompt_path", "a.b.1.path"}


def test_settings_with_enums_have_a_fingerprint(tmp_path):
    assert fingerprint(grpo_config(), tmp_path) != fingerprint(grpo_config(beta=0.5), tmp_path)


def test_the_manifest_says_what_was_made_from_what(config, tmp_path):
    artifact = Step("toy", config, tmp_path).run(Build())
    manifest = json.loads(artifact.path("manifest.json").read_text())
    assert manifest == artifact.manifest == read_artifact(artifact.directory).manifest
    assert manifest["step"] == "toy"
    assert manifest["fingerprint"] == artifact.fingerprint
    assert manifest["config"]["size"] == 3
    assert manifest["counts"] == {"num_lines": 1}
    # sha256 of "content"
    assert manifest["inputs"] == {"data.path": "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"}
    assert manifest["seconds"] >= 0
    assert {"medssr", "torch", "transformers", "lightning"} <= manifest["packages"].keys()
    assert "git_commit" in manifest
    assert not {"paths", "logger", "extras"} & manifest["config"].keys()


def _run_step_slowly(config: ToyConfig, folder: Path, is_building: Any, may_end: Any) -> None:
    def build(directory: Path) -> dict[str, int]:
        is_building.set()
        may_end.wait()
        (directory / "result.txt").write_text("by the first")
        return {}

    Step("toy", config, folder).run(build)


def _run_step_second(config: ToyConfig, folder: Path, is_waiting: Any, results: Any) -> None:
    is_waiting.set()
    results.put(Step("toy", config, folder).run(Build()).path("result.txt").read_text())


@pytest.mark.slow
def test_the_second_process_gets_the_result_of_the_first(config, tmp_path):
    context = multiprocessing.get_context("fork")
    is_building, may_end, is_waiting = context.Event(), context.Event(), context.Event()
    results = context.SimpleQueue()
    first = context.Process(target=_run_step_slowly, args=(config, tmp_path, is_building, may_end))
    second = context.Process(target=_run_step_second, args=(config, tmp_path, is_waiting, results))
    first.start()
    is_building.wait()
    second.start()
    is_waiting.wait()
    may_end.set()
    assert results.get() == "by the first"
    first.join()
    second.join()


def test_a_step_says_that_it_prepares_while_it_shows_no_progress(config, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(progress, "_LINE_EVERY_S", 0.01)
    is_told = threading.Event()

    class Told(logging.Handler):
        def emit(self, record):
            if record.getMessage().endswith("toy: still preparing after 0 s"):
                is_told.set()

    def build(directory):
        assert is_told.wait(timeout=30)
        return {}

    logger = logging.getLogger("medssr.utils.progress")
    monkeypatch.setattr(logger, "handlers", [Told()])
    caplog.set_level(logging.INFO, logger.name)
    Step("toy", config, tmp_path / "artifacts", shows_progress=True).run(build)
