from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from medssr.knowledge.retrieval.stored_passages import cached_folder, read_facts


class Builder:
    """Writes two files and counts the calls."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, folder: Path) -> dict[str, int]:
        self.count += 1
        (folder / "a.txt").write_text("first")
        (folder / "b.txt").write_text("second")
        return {"size": 11}


def cut(folder):
    (folder / "b.txt").write_text("sec")


def same_size(folder):
    (folder / "b.txt").write_text("sEcond")


def missing(folder):
    (folder / "a.txt").unlink()


def stranger(folder):
    (folder / "c.txt").write_text("not ours")


def manifest_gone(folder):
    (folder / "manifest.json").unlink()


def manifest_broken(folder):
    (folder / "manifest.json").write_text('{"files": ')


def manifest_of_something_else(folder):
    (folder / "manifest.json").write_text("[1]")


def test_a_folder_is_built_once(tmp_path):
    build = Builder()
    folders = {cached_folder(tmp_path, "kind", {"k": 1}, build) for _ in range(3)}
    (folder,) = folders
    assert build.count == 1
    assert read_facts(folder) == {"size": 11}
    assert (folder / "b.txt").read_text() == "second"


def test_settings_and_kinds_have_folders_of_their_own(tmp_path):
    build = Builder()
    folders = {
        cached_folder(tmp_path, kind, settings, build)
        for kind, settings in (("a", {"k": 1}), ("a", {"k": 2}), ("b", {"k": 1}))
    }
    assert len(folders) == build.count == 3


@pytest.mark.parametrize(
    "damage", [cut, same_size, missing, stranger, manifest_gone, manifest_broken, manifest_of_something_else]
)
def test_a_damaged_folder_is_built_anew(tmp_path, caplog, damage):
    build = Builder()
    folder = cached_folder(tmp_path, "kind", {}, build)
    damage(folder)
    assert cached_folder(tmp_path, "kind", {}, build) == folder
    assert build.count == 2
    assert sorted(file.name for file in folder.iterdir()) == ["a.txt", "b.txt", "manifest.json"]
    assert "damaged" in caplog.text
    cached_folder(tmp_path, "kind", {}, build)
    assert build.count == 2


def test_an_error_while_building_leaves_nothing_that_counts(tmp_path):
    def fail(folder: Path) -> dict[str, int]:
        (folder / "half.txt").write_text("ha")
        raise RuntimeError("no space")

    with pytest.raises(RuntimeError):
        cached_folder(tmp_path, "kind", {}, fail)
    folder = cached_folder(tmp_path, "kind", {}, Builder())
    assert not (folder / "half.txt").exists()


PROGRAM = """
import json, os, signal, sys
from pathlib import Path
from medssr.knowledge.retrieval.stored_passages import cached_folder

def build(folder):
    with open(sys.argv[2], "a") as log:
        log.write("built\\n")
    (folder / "a.txt").write_text("half")
    if sys.argv[3] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / "a.txt").write_text("whole" * 100_000)
    return {}

print(cached_folder(Path(sys.argv[1]), "kind", {}, build))
"""


def start(tmp_path: Path, what: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", PROGRAM, str(tmp_path / "cache"), str(tmp_path / "log"), what]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))


@pytest.mark.slow
def test_a_killed_process_leaves_nothing_that_counts(tmp_path):
    dead = start(tmp_path, "die")
    dead.communicate()
    assert dead.returncode == -signal.SIGKILL
    folder = cached_folder(tmp_path / "cache", "kind", {}, Builder())
    assert (folder / "a.txt").read_text() == "first"


@pytest.mark.slow
def test_two_processes_build_once(tmp_path):
    processes = [start(tmp_path, "live") for _ in range(3)]
    folders = {process.communicate()[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    (folder,) = folders
    assert (tmp_path / "log").read_text() == "built\n"
    assert (Path(folder) / "a.txt").read_text() == "whole" * 100_000
    assert json.loads((Path(folder) / "manifest.json").read_text())["files"].keys() == {"a.txt"}
