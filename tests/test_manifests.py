"""Tests that a finished artefact is used only while it is as its step made it."""

from __future__ import annotations

import json
import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.made import flip_a_bit, make, use

from medssr.errors import InputError
from medssr.manifests import artifact_of, check_input, pointed_to, read_artifact

DAMAGES = {
    "cut at a line": ("questions.jsonl", lambda file: file.write_text('{"id": 1}\n'), "10 bytes instead of 20"),
    "emptied": ("questions.jsonl", lambda file: file.write_text(""), "0 bytes instead of 20"),
    "one bit of a small file": ("questions.jsonl", flip_a_bit, "another content"),
    "one bit of a large file": ("model/weights.bin", flip_a_bit, "another content"),
    "removed": ("model/weights.bin", Path.unlink, "is missing"),
}


def test_the_manifest_records_size_and_hash_of_each_file_that_does_not_change_later(tmp_path):
    outputs = make(tmp_path).manifest["outputs"]
    assert outputs.keys() == {"model/weights.bin", "questions.jsonl"}
    # sha256sum of the two lines
    expected = {"size": 20, "sha256": "781ff5f85c89826b0126e003be6b6f78477dffcb4a2cf0b4e2a5ed9d78bb84cf"}
    assert outputs["questions.jsonl"] == expected


@pytest.mark.slow
@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_artefact_is_not_already_made(tmp_path, kind):
    made = make(tmp_path)
    name, damage, difference = DAMAGES[kind]
    damage(made.path(name))
    with pytest.raises(InputError, match=difference) as refused:
        make(tmp_path)
    assert str(made.path(name)) in str(refused.value)
    assert f"Delete {made.directory} and run medssr-make again" in str(refused.value)
    shutil.rmtree(made.directory)
    assert make(tmp_path).manifest["outputs"] == made.manifest["outputs"]
    assert make(tmp_path, force=True).manifest["outputs"] == made.manifest["outputs"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_file_is_no_input_of_another_step(tmp_path, kind):
    made = make(tmp_path)
    name, damage, _ = DAMAGES[kind]
    read = made.path(name.split("/")[0])
    use(read, tmp_path)
    damage(made.path(name))
    with pytest.raises(InputError, match=r"weights\.bin|questions\.jsonl"):
        use(read, tmp_path)


def test_a_step_reads_a_whole_file_of_a_damaged_artefact(tmp_path):
    made = make(tmp_path)
    flip_a_bit(made.path("model/weights.bin"))
    use(made.path("questions.jsonl"), tmp_path)


def test_what_is_left_to_users_and_the_state_of_a_training_may_change(tmp_path):
    made = make(tmp_path)
    made.path("sheet.csv").write_text("id,verdict\n1,right\n")
    shutil.rmtree(made.path("checkpoints"))
    made.path("wandb").mkdir()
    made.path("wandb/logged.json").write_text("{}")
    assert make(tmp_path) == made


def test_a_large_file_is_read_again_only_where_it_changed_or_on_request(tmp_path):
    made = make(tmp_path)
    (kept,) = (tmp_path / ".hashes").glob("*.json")
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"sha256": "0" * 64}))
    with pytest.raises(InputError, match="another content"):
        make(tmp_path)  # it believes what it remembers
    assert make(tmp_path, verify=True) == made  # it reads the file
    assert make(tmp_path) == made  # and remembers what it read


def test_an_artefact_without_recorded_outputs_is_used_unchecked(tmp_path, caplog):
    made = make(tmp_path)
    manifest = {name: value for name, value in made.manifest.items() if name not in ("outputs", "sha256")}
    made.path("manifest.json").write_text(json.dumps(manifest))
    flip_a_bit(made.path("questions.jsonl"))
    with caplog.at_level(logging.WARNING):
        assert make(tmp_path).manifest == manifest
        make(tmp_path)
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [f"{made.directory}: an older version made it and recorded no sizes and hashes; used unchecked"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is empty"),
        ('{"step": "make", "inp', "not valid JSON"),
        ("[" * 100_000, "nested too deeply|not valid JSON"),
        ("[1, 2]", "expected an object"),
        ('{"name": "an extension", "version": 3}', 'field "step"'),
        ('{"step": "make", "inputs": {}, "counts": {}, "seconds": 1, "outputs": [1]}', 'field "outputs"'),
        ('{"step": "make", "inputs": {}, "counts": {}, "seconds": 1, "fingerprint": "0"}', 'field "fingerprint"'),
        ('{"step": "make", "inputs": {}, "counts": {}, "seconds": 1, "outputs": {}}', 'field "sha256"'),
    ],
)
def test_a_damaged_manifest_is_named_with_what_to_do(tmp_path, content, problem):
    made = make(tmp_path)
    made.path("manifest.json").write_text(content)
    with pytest.raises(InputError, match=problem) as refused:
        make(tmp_path)
    assert str(refused.value).startswith(str(made.path("manifest.json")))
    assert f"elete {made.directory}" in str(refused.value)
    if "fingerprint" not in problem:
        with pytest.raises(InputError, match=problem):
            use(made.path("questions.jsonl"), tmp_path)
        with pytest.raises(InputError, match=problem):
            read_artifact(made.directory)


def test_any_changed_value_of_a_manifest_is_noticed(tmp_path):
    file = make(tmp_path).path("manifest.json")
    whole = json.loads(file.read_text())
    for name in whole:
        file.write_text(json.dumps(whole | {name: {"changed": 1} if isinstance(whole[name], dict) else "changed"}))
        with pytest.raises(InputError, match=r"manifest\.json"):
            make(tmp_path)
        file.write_text(json.dumps({other: whole[other] for other in whole if other != name}))
        with pytest.raises(InputError, match=r"manifest\.json"):
            make(tmp_path)
    file.write_text(json.dumps(whole))
    make(tmp_path)


def test_a_folder_of_another_program_with_a_manifest_is_no_artefact(tmp_path):
    (tmp_path / "extension").mkdir()
    (tmp_path / "extension" / "manifest.json").write_text('{"name": "an extension"}')
    (tmp_path / "extension" / "questions.jsonl").write_text("{}\n")
    assert artifact_of(tmp_path / "extension" / "questions.jsonl") is None
    check_input(tmp_path / "extension" / "questions.jsonl")


def test_the_artefact_of_a_file_is_found_through_a_link(tmp_path):
    made = make(tmp_path / "store")
    (tmp_path / "latest").symlink_to(made.directory)
    assert artifact_of(tmp_path / "latest" / "model" / "weights.bin") == replace(made, directory=made.directory)
    flip_a_bit(made.path("model/weights.bin"))
    with pytest.raises(InputError, match="another content"):
        check_input(tmp_path / "latest" / "model")


@pytest.mark.parametrize("content", ["", '{"artifact": ', '{"artifact": 3}', "[]"])
def test_a_damaged_pointer_is_named(tmp_path, content):
    (tmp_path / "artifact.json").write_text(content)
    with pytest.raises(InputError, match=r"artifact\.json"):
        pointed_to(tmp_path)


def test_inputs_are_read_again_on_request(tmp_path):
    """Bits that went bad on the disk change neither size nor times."""
    weights = make(tmp_path).path("model/weights.bin")
    times = weights.stat()
    (kept,) = (tmp_path / ".hashes").glob("*.json")
    flip_a_bit(weights)
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    record = json.loads(kept.read_text())
    record["state"][-1] = weights.stat().st_ctime_ns
    kept.write_text(json.dumps(record))
    use(weights, tmp_path)
    with pytest.raises(InputError, match="another content"):
        use(weights, tmp_path, verify=True)
