from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from medssr.utils.content_hashes import ContentHashes
from medssr.utils.files import hash_path


def kept_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"))


def hash_in_process(folder: Path, model: Path, results: multiprocessing.Queue) -> None:
    results.put(ContentHashes(folder, min_bytes=100).of(model))


def test_the_hash_of_a_large_file_is_computed_once_and_again_when_it_changes(tmp_path):
    hashes, model = ContentHashes(tmp_path / "kept", min_bytes=100), tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    weights = model / "model.safetensors"
    weights.write_bytes(b"x" * 1000)
    expected = hash_path(model)
    assert hashes.of(model) == expected
    (kept,) = kept_files(tmp_path / "kept")

    record = json.loads(kept.read_text())
    kept.write_text(json.dumps(record | {"sha256": "read and not computed"}))
    assert hashes.of(weights) == "read and not computed"

    times = weights.stat()
    weights.write_bytes(b"y" * 1000)
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))  # a copy may keep the time of the old file
    assert hashes.of(model) == hash_path(model) != expected
    assert len(kept_files(tmp_path / "kept")) == 1

    (model / "config.json").write_text('{"a": 1}')
    assert hashes.of(model) == hash_path(model)


@pytest.mark.slow
def test_processes_that_ask_together_get_the_same_hash(tmp_path):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(os.urandom(20_000_000))
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=hash_in_process, args=(tmp_path / "kept", weights, results)) for _ in range(4)]
    for process in processes:
        process.start()
    found = {results.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert found == {hash_path(weights)}
    assert len(kept_files(tmp_path / "kept")) == 1
