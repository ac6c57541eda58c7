"""list, show and clean on a small folder of artefacts that real steps made."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from medssr.api.process_state import own_hydra
from medssr.artifacts import Step
from medssr.commands.store import cleaning, listing, showing
from medssr.commands.store.records import read_catalog
from medssr.manifests import kept_hashes, sealed
from medssr.questions import mix_questions
from medssr.utils.files import hash_path, write_json_atomically
from medssr.utils.outputs import MANIFEST_FILE, record_outputs
from medssr.utils.provenance import called_from_python

ASKED, LABELLED, TRAINED = "a" * 16, "b" * 16, "c" * 16


class Project:
    """A folder of artefacts and one of runs."""

    def __init__(self, root: Path):
        self.root, self.artifacts, self.logs = root, root / "artifacts", root / "logs"

    def step(self, step, fingerprint, files, inputs, config=None, *, left_out=(), **fields):
        """Makes the artefact of a step as `Step` makes it; without `inputs` it is unfinished.

        Args:
            left_out: Fields of the manifest that an older version did not write.
            fields: Further fields of the manifest.
        """
        directory = self.artifacts / step / fingerprint
        for name, content in files.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(content, encoding="utf-8")
        (directory.parent / f".{fingerprint}.lock").touch()
        if inputs is not None:
            fields = {
                "step": step,
                "command": "medssr-pipeline",
                "from_python": False,
                "fingerprint": fingerprint,
                "config": config or {},
                "inputs": {key: hash_path(path) for key, path in inputs.items()},
                "counts": {"num_questions": 1},
                "seconds": 1.5,
                "git_commit": None,
                "outputs": record_outputs(directory, kept_hashes(self.artifacts), ("sheet.csv",)),
            } | fields
            fields = {name: value for name, value in fields.items() if name not in left_out}
            write_json_atomically(directory / MANIFEST_FILE, sealed(fields))
        return directory

    def run(self, name, text):
        return write_run(self.logs / "pipeline" / "runs" / name, text)

    def search(self, *named, logs=()):
        return cleaning.Search(self.artifacts, [self.logs, *logs], named)

    def garbage(self, *named, logs=()):
        return [item.path for item in cleaning.garbage(self.search(*named, logs=logs))]

    @property
    def paths(self):
        return [f"paths.artifact_dir={self.artifacts}", f"paths.log_dir={self.logs}"]


def write_run(folder, text):
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(["seed=7"]), encoding="utf-8")
    (folder / "pipeline.log").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Questions, labels of them, a model trained on these labels, and the run that made all three."""
    project = Project(tmp_path)
    asked = project.step("synthesize", ASKED, {"questions.jsonl": '{"id": "q1"}\n'}, {}, {"seed": 43})
    labelled = project.step(
        "pseudo_label",
        LABELLED,
        {"questions.jsonl": '{"id": "q1", "answer": "A"}\n'},
        {"data.path": asked / "questions.jsonl"},
    )
    project.step(
        "train",
        TRAINED,
        {"model/config.json": "{}", "model/weights": "w", "metrics.csv": "step,train/reward\n0,0.25\n1,0.75\n"},
        {"data.path": labelled / "questions.jsonl"},
    )
    project.run("2026-01-01_00-00-00-000000", f"made {project.artifacts}/train/{TRAINED}\n")
    return project


def words(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["medssr", *arguments])


def test_what_was_made_from_what_is_found_by_content(project):
    evaluated = project.step(
        "evaluate", "d" * 16, {"results.json": "{}"}, {"model.path": project.artifacts / "train" / TRAINED / "model"}
    )
    catalog = read_catalog(project.artifacts, [project.logs])
    assert catalog.made_from[evaluated.name] == {"model.path": [TRAINED]}
    assert catalog.made_from[TRAINED] == {"data.path": [LABELLED]}
    assert catalog.users(ASKED) == [LABELLED]
    assert [run.directory.name for run in catalog.runs_with(TRAINED)] == ["2026-01-01_00-00-00-000000"]


def test_an_artefact_that_copies_its_input_is_not_what_others_were_made_from(project):
    questions = project.artifacts / "synthesize" / ASKED / "questions.jsonl"
    project.step("evaluate", "d" * 16, {"copy.jsonl": questions.read_text()}, {"benchmark.path": questions})
    assert read_catalog(project.artifacts, []).made_from[LABELLED] == {"data.path": [ASKED]}


@pytest.mark.slow
def test_list_shows_artefacts_with_their_origin_and_runs(project, monkeypatch, capsys):
    words(monkeypatch, *project.paths)
    monkeypatch.delenv("COLUMNS", raising=False)  # a file has room for the whole table
    listing.main()
    shown = capsys.readouterr().out
    assert "pseudo_label bbbbbbbb" in next(line for line in shown.splitlines() if line.startswith("cccccccc"))
    assert "seed=7" in shown
    assert "3 artefacts" in shown
    words(monkeypatch, "pseudo-label", *project.paths)
    listing.main()
    assert "cccccccc" not in capsys.readouterr().out
    words(monkeypatch, "trian", *project.paths)
    with pytest.raises(SystemExit) as end:
        listing.main()
    assert end.value.code == 2
    assert capsys.readouterr().err == "trian: nothing is of this name. Did you mean train?\n"


@pytest.mark.slow
def test_show_has_lineage_changed_settings_records_and_the_command(project, monkeypatch, capsys):
    words(monkeypatch, "aaaa", *project.paths)
    showing.main()
    shown = capsys.readouterr().out
    assert f"used by:\n  pseudo_label/{LABELLED}\n    train/{TRAINED}\n" in shown
    assert "\n  seed=43 (default 42)\n" in shown
    assert '\nquestions.jsonl:\n  {"id": "q1"}\n' in shown
    assert "and run medssr-pipeline again" in shown
    words(monkeypatch, f"train/{TRAINED}", *project.paths)
    showing.main()
    shown = capsys.readouterr().out
    assert f"made from:\n  data.path: pseudo_label/{LABELLED}\n    data.path: synthesize/{ASKED}\n" in shown
    assert '"train/reward": "0.75"' in shown


@pytest.mark.slow
def test_show_takes_a_folder_and_names_what_it_does_not_find(project, monkeypatch, capsys):
    words(monkeypatch, str(project.artifacts / "train" / TRAINED / "model"), *project.paths)
    showing.main()
    assert capsys.readouterr().out.startswith(f"train/{TRAINED}: made\n")
    words(monkeypatch, "eeee", *project.paths)
    with pytest.raises(SystemExit):
        showing.main()
    assert capsys.readouterr().err == "eeee: there is no such artefact or run; medssr list has all.\n"


def files_of(project):
    return sorted(file for file in project.root.rglob("*") if file.is_file())


@pytest.mark.slow
def test_clean_changes_nothing_unless_told_to_and_then_what_nothing_refers_to(project, monkeypatch, capsys):
    unfinished = project.step("train", "1" * 16, {"checkpoints/step": "..."}, None)
    unused = project.step("evaluate", "2" * 16, {"results.json": "{}"}, {})
    from_python = project.step("evaluate", "3" * 16, {"results.json": "{}"}, {}, from_python=True)
    hashes = kept_hashes(project.artifacts)
    gone = project.root / "gone"
    gone.write_bytes(bytes(2**20))
    hashes.of_file(gone)
    gone.unlink()
    (record,) = hashes.folder.glob("*.json")
    before = files_of(project)
    words(monkeypatch, *project.paths)
    cleaning.main()
    shown = capsys.readouterr().out
    assert files_of(project) == before
    assert [line.split()[0] for line in shown.splitlines()[:-1]] == ["unfinished", "unused", "hashes"]
    words(monkeypatch, "--delete", *project.paths)
    cleaning.main()
    assert "deleted 3 of 3" in capsys.readouterr().out
    assert not unfinished.exists()
    assert not unused.exists()
    assert not record.exists()
    assert from_python.exists()
    assert len(read_catalog(project.artifacts, [project.logs]).steps) == 4
    cleaning.main()
    assert capsys.readouterr().out.startswith("nothing to delete")


@pytest.mark.slow
def test_clean_leaves_what_a_process_works_on_here_or_elsewhere(project, monkeypatch, capsys):
    here = project.step("train", "1" * 16, {"checkpoints/step": "..."}, None)
    elsewhere = project.step("train", "2" * 16, {"checkpoints/step": "..."}, None)
    note = {"host": "another-machine", "pid": 1}
    (elsewhere.parent / f".{elsewhere.name}.lock.holder").write_text(json.dumps(note), encoding="utf-8")
    words(monkeypatch, "--delete", *project.paths)
    with FileLock(here.parent / f".{here.name}.lock"):
        cleaning.main()
    assert capsys.readouterr().out.startswith("nothing to delete")
    assert here.exists()
    assert elsewhere.exists()


def test_a_step_that_is_finished_between_the_look_and_the_deletion_stays(project):
    directory = project.step("train", "1" * 16, {"checkpoints/step": "..."}, None)
    (item,) = cleaning.garbage(project.search())
    project.step("train", "1" * 16, {"model/weights": "w"}, {})
    assert "something refers to it by now" in cleaning.delete(item, project.search())
    assert directory.exists()


def test_what_a_run_or_an_artefact_refers_to_since_the_look_stays(project):
    by_run, by_step, anew = (project.step("evaluate", digit * 16, {"results.json": digit}, {}) for digit in "123")
    items = list(cleaning.garbage(project.search()))
    project.run("2026-01-02_00-00-00-000000", f"already made, {by_run}\n")
    project.step("audit", "4" * 16, {"a": "b"}, {"path": by_step / "results.json"}, from_python=True)
    os.utime(anew / MANIFEST_FILE, ns=(0, 0))
    assert len(items) == 3
    assert all(cleaning.delete(item, project.search()) is not None for item in items)
    assert all(folder.exists() for folder in (by_run, by_step, anew))


def test_an_unfinished_step_that_a_run_names_is_deleted_only_by_name(project):
    queued = project.step("train", "1" * 16, {"checkpoints/step": "..."}, None)
    project.run("2026-01-02_00-00-00-000000", f"train: started in {queued}\n")
    assert project.garbage() == []
    assert project.garbage(cleaning.Kind.unused) == []
    assert project.garbage(cleaning.Kind.unfinished) == [queued]


def test_what_was_made_from_python_or_by_an_older_version_is_kept(project):
    project.step("evaluate", "1" * 16, {"results.json": "1"}, {}, from_python=True, command="medssr-evaluate")
    project.step("evaluate", "2" * 16, {"results.json": "2"}, {}, left_out=["from_python"])
    assert project.garbage() == []


def test_a_step_records_who_called_it_and_what_its_inputs_lie_in(project):
    @dataclass
    class Config:
        path: str

    def make(size):
        def build(directory):
            (directory / "a").write_text(size)
            return {}

        labels = project.artifacts / "pseudo_label" / LABELLED
        return Step(f"toy{size}", Config(str(labels)), project.artifacts).run(build)

    with called_from_python("train", []):
        from_python = make("1")
    with own_hydra():
        HydraConfig.instance().cfg = OmegaConf.create(
            {"hydra": {"job": {"config_name": "train"}, "overrides": {"task": []}}}
        )
        from_command = make("2")
    assert from_python.manifest["command"] == from_command.manifest["command"] == "medssr-train"
    assert from_python.manifest["from_python"] is True
    assert from_command.manifest["from_python"] is False
    assert from_command.manifest["origins"] == {"path": [LABELLED]}
    assert project.garbage() == [from_command.directory]


def test_an_artefact_whose_whole_folder_is_an_input_is_used(project):
    labels = project.step("pseudo_label", "1" * 16, {"questions.jsonl": "{}", "answers/1": "..."}, {})
    assert project.garbage() == [labels]
    origins = {"demonstrations.path": [labels.name]}
    project.step("sft", "2" * 16, {"model/w": "1"}, {"demonstrations.path": labels}, origins=origins, from_python=True)
    (labels / "answers" / "1").unlink()
    assert read_catalog(project.artifacts, []).made_from["2" * 16] == origins
    assert project.garbage() == []


def test_the_parts_of_a_mixture_of_questions_are_used(project, tmp_path):
    text = json.dumps({"id": "q9", "question": "Which?", "options": {"A": "a", "B": "b"}, "answer": "A"}) + "\n"
    labels = project.step("pseudo_label", "1" * 16, {"questions.jsonl": text}, {})
    human = tmp_path / "human.jsonl"
    human.write_text(text.replace("q9", "q8"))
    mixed = mix_questions([human, labels / "questions.jsonl"], project.artifacts / "mixed")
    assert project.garbage() == [labels]
    project.step("train", "2" * 16, {"model/w": "1"}, {"data.path": mixed}, from_python=True)
    assert read_catalog(project.artifacts, []).made_from["2" * 16] == {"data.path": [labels.name]}
    assert project.garbage() == []


def test_what_experts_fill_in_is_kept(project):
    project.step("audit", "1" * 16, {"sheet.csv": "filled in", "sheet.html": "..."}, {})
    evaluated = project.step("evaluate", "2" * 16, {"results.json": "{}"}, {})
    assert project.garbage() == [evaluated]
    (evaluated / "notes.txt").write_text("of a reader")
    assert project.garbage() == []


@pytest.mark.slow
def test_runs_of_a_study_are_found_at_any_depth_and_a_folder_without_one_is_refused(project, monkeypatch, capsys):
    evaluated = project.step("evaluate", "1" * 16, {"results.json": "{}"}, {})
    study = project.root / "scratch" / "study"
    study.mkdir(parents=True)
    words(monkeypatch, "--logs", str(study), *project.paths)
    with pytest.raises(SystemExit):
        cleaning.main()
    assert capsys.readouterr().err == f"--logs: no run is in {study}; a run has a folder .hydra.\n"
    job = write_run(study / "seed=1", f"made {evaluated}\n")
    for folder in (job, study, study.parent):
        assert project.garbage(logs=[folder]) == []
    assert [run.command for run in read_catalog(project.artifacts, [study, study.parent]).runs] == ["pipeline"]


def test_clean_follows_no_link(project):
    outside = project.root / "outside"
    outside.mkdir()
    target = project.step("evaluate", "1" * 16, {"results.json": "{}"}, {})
    (item,) = cleaning.garbage(project.search())
    for fingerprint, folder in (("2" * 16, outside), ("3" * 16, target), ("4" * 16, project.root / "gone")):
        (project.artifacts / "train" / fingerprint).symlink_to(folder)
        (project.artifacts / "train" / f".{fingerprint}.lock").touch()
    assert project.garbage(*cleaning.Kind) == []
    target.rename(project.root / "moved")
    target.symlink_to(project.root / "moved")
    assert cleaning.delete(item, project.search()) is not None
    assert (project.root / "moved" / "results.json").exists()


def test_without_any_run_no_artefact_counts_as_unused(project):
    project.step("train", "1" * 16, {"checkpoints/step": "..."}, None)
    assert list(cleaning.garbage(cleaning.Search(project.artifacts, [project.root / "other"]))) == []


def test_what_only_an_unfinished_run_was_told_to_read_is_used(project):
    labels = project.step("pseudo_label", "4" * 16, {"questions.jsonl": "{}"}, {})
    assert project.garbage() == [labels]
    run = project.run("2026-01-02_00-00-00-000000", "")
    (run / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump([f"data.path={labels}/questions.jsonl"]))
    assert project.garbage() == []


@pytest.mark.slow
def test_what_cannot_be_deleted_is_named_and_no_artefact_by_halves(project, monkeypatch, capsys):
    kept = project.step("evaluate", "1" * 16, {"results.json": "x" * 5000}, {})
    rename = Path.rename

    def refused(self, target):
        if self == kept:
            raise PermissionError(13, "Permission denied", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refused)
    project.step("evaluate", "2" * 16, {"results.json": "y"}, {})
    words(monkeypatch, "--delete", *project.paths)
    cleaning.main()
    shown = capsys.readouterr().out
    assert f"left alone: Permission denied, {kept}\n" in shown
    assert "deleted 1 of 2, " in shown
    assert "kB in all" not in shown
    assert (kept / "results.json").is_file()


def test_a_deletion_that_is_interrupted_leaves_no_artefact_and_is_finished_by_the_next(project, monkeypatch):
    directory = project.step("evaluate", "1" * 16, {"results.json": "{}"}, {})
    (item,) = cleaning.garbage(project.search())
    with monkeypatch.context() as patch:
        patch.setattr(cleaning.shutil, "rmtree", Path.rmdir)  # not empty
        assert "not empty" in cleaning.delete(item, project.search())
    assert not directory.exists()
    assert directory.name not in [step.fingerprint for step in read_catalog(project.artifacts, []).steps]
    assert cleaning.delete(item, project.search()) is None  # as for a second clean at the same time
    (left,) = cleaning.garbage(project.search())
    assert cleaning.delete(left, project.search()) is None
    assert not left.path.exists()
    assert project.garbage() == []


@pytest.mark.slow
def test_manifests_of_older_versions_and_damaged_files_are_shown(project, monkeypatch, capsys):
    old = project.step("train", "1" * 16, {"model/w": "2"}, {}, left_out=["command", "git_commit", "config"])
    labels = project.artifacts / "pseudo_label" / LABELLED
    (labels / "questions.jsonl").write_bytes(b'{"a\xff\n')
    run = project.run("2026-01-02_00-00-00-000000", f"made {old}")
    (run / ".hydra" / "overrides.yaml").write_text("[a: {")
    judged = {"corpus.path": labels, "questions.path": labels, "qrels.path": labels}
    project.step("retrieve", "2" * 16, {"hits.jsonl": "{}\n"}, judged, {"num_hits": 64})
    project.step("export", "3" * 16, {"a": "b"}, {}, {"model": {"path": "of a hub"}})
    for main in (listing.main, cleaning.main):
        words(monkeypatch, *project.paths)
        main()
    words(monkeypatch, "1" * 16, LABELLED, run.name, "2" * 16, "3" * 16, *project.paths)
    showing.main()
    shown = capsys.readouterr().out
    assert "  not known: the manifest has no configuration\n" in shown
    assert '\nquestions.jsonl:\n  {"a\N{REPLACEMENT CHARACTER}\n' in shown
    assert "  settings  not known: .hydra/overrides.yaml is damaged\n" in shown
    assert "  num_hits=64 (default 100)\n" in shown
    assert "  not known: " in shown.partition("export/")[2]
