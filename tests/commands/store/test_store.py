"""list, show and clean on a small folder of artefacts that real steps made."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from medssr.commands.store import cleaning, listing, showing
from medssr.commands.store.records import read_catalog
from medssr.manifests import kept_hashes, sealed
from medssr.utils.files import hash_path, write_json_atomically
from medssr.utils.outputs import MANIFEST_FILE, record_outputs

ASKED, LABELLED, TRAINED = "a" * 16, "b" * 16, "c" * 16


class Project:
    """A folder of artefacts and one of runs."""

    def __init__(self, root: Path):
        self.root, self.artifacts, self.logs = root, root / "artifacts", root / "logs"

    def step(self, step, fingerprint, files, inputs, config=None, command="medssr-pipeline"):
        """Makes the artefact of a step as `Step` makes it; without `inputs` it is unfinished."""
        directory = self.artifacts / step / fingerprint
        for name, content in files.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(content, encoding="utf-8")
        (directory.parent / f".{fingerprint}.lock").touch()
        if inputs is not None:
            fields = {
                "step": step,
                "fingerprint": fingerprint,
                "command": command,
                "config": config or {},
                "inputs": {key: hash_path(path) for key, path in inputs.items()},
                "counts": {"num_questions": 1},
                "seconds": 1.5,
                "git_commit": None,
                "outputs": record_outputs(directory, kept_hashes(self.artifacts), ()),
            }
            write_json_atomically(directory / MANIFEST_FILE, sealed(fields))
        return directory

    def run(self, name, text, command="pipeline"):
        folder = self.logs / command / "runs" / name
        (folder / ".hydra").mkdir(parents=True)
        (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(["seed=7"]), encoding="utf-8")
        (folder / f"{command}.log").write_text(text, encoding="utf-8")
        return folder

    @property
    def paths(self):
        return [f"paths.artifact_dir={self.artifacts}", f"paths.log_dir={self.logs}"]


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
    assert catalog.made_from[evaluated.name] == {"model.path": TRAINED}
    assert catalog.made_from[TRAINED] == {"data.path": LABELLED}
    assert catalog.users(ASKED) == [LABELLED]
    assert [run.directory.name for run in catalog.runs_with(TRAINED)] == ["2026-01-01_00-00-00-000000"]


def test_an_artefact_that_copies_its_input_is_not_what_others_were_made_from(project):
    questions = project.artifacts / "synthesize" / ASKED / "questions.jsonl"
    project.step("evaluate", "d" * 16, {"copy.jsonl": questions.read_text()}, {"benchmark.path": questions})
    assert read_catalog(project.artifacts, []).made_from[LABELLED] == {"data.path": ASKED}


def test_list_shows_artefacts_with_their_origin_and_runs(project, monkeypatch, capsys):
    words(monkeypatch, *project.paths)
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


def test_clean_changes_nothing_unless_told_to_and_then_what_nothing_refers_to(project, monkeypatch, capsys):
    unfinished = project.step("train", "1" * 16, {"checkpoints/step": "..."}, None)
    unused = project.step("evaluate", "2" * 16, {"results.json": "{}"}, {})
    from_python = project.step("evaluate", "3" * 16, {"results.json": "{}"}, {}, command=None)
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
    (item,) = cleaning.garbage(project.artifacts, [project.logs], [cleaning.Kind.unfinished])
    project.step("train", "1" * 16, {"model/weights": "w"}, {})
    assert not cleaning.delete(item, project.artifacts)
    assert directory.exists()


def test_clean_follows_no_link_out_of_the_store(project):
    outside = project.root / "outside"
    outside.mkdir()
    (project.artifacts / "train" / ("1" * 16)).symlink_to(outside)
    (project.artifacts / "train" / f".{'1' * 16}.lock").touch()
    assert list(cleaning.garbage(project.artifacts, [project.logs], list(cleaning.Kind))) == []


def test_without_any_run_no_artefact_counts_as_unused(project):
    assert list(cleaning.garbage(project.artifacts, [project.root / "other"], list(cleaning.Kind))) == []


def test_what_only_an_unfinished_run_was_told_to_read_is_used(project):
    labels = project.step("pseudo_label", "4" * 16, {"questions.jsonl": "{}"}, {})
    assert [item.path for item in cleaning.garbage(project.artifacts, [project.logs], list(cleaning.Kind))] == [labels]
    run = project.run("2026-01-02_00-00-00-000000", "")
    (run / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump([f"data.path={labels}/questions.jsonl"]))
    assert list(cleaning.garbage(project.artifacts, [project.logs], list(cleaning.Kind))) == []
