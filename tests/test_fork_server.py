"""A command that is forked does what it does when it is started from scratch."""

from __future__ import annotations

import importlib

import pytest
from support.commands import start
from support.fork_server import ForkedProcess, note_inherited

pytestmark = pytest.mark.slow


def test_a_fork_ends_as_a_process_from_scratch_with_the_same_output(tmp_path):
    for library in ("joblib", "lightning.fabric", "torch._inductor"):  # they set variables, as other tests' imports do
        importlib.import_module(library)
    words = ("train", "data.path=none.jsonl", "extras.progress_bar=false")
    # A folder each, so that neither waits for the other's lock.
    folders = [tmp_path / name for name in ("forked", "real")]
    for folder in folders:
        folder.mkdir()
    forked = start(*words, folder=folders[0])
    # A variable that a library might read when it is imported.
    real = start(*words, folder=folders[1], env={"HF_HUB_DISABLE_TELEMETRY": "1"})
    assert [type(process) is ForkedProcess for process in (forked, real)] == [True, False]
    pairs = zip((forked, real), folders, strict=True)
    outputs = [process.communicate()[0].replace(str(folder), "FOLDER") for process, folder in pairs]
    assert "none.jsonl" in outputs[0]
    assert outputs[0] == outputs[1]
    assert forked.returncode == real.returncode == 2


def test_a_variable_that_was_set_before_the_test_hinders_no_fork(tmp_path, monkeypatch):
    monkeypatch.setenv("SET_BY_A_LIBRARY", "yes")
    words = ("train", "--help")
    of_the_test = start(*words, folder=tmp_path)
    note_inherited()
    of_a_test_before = start(*words, folder=tmp_path)
    assert [type(process) is ForkedProcess for process in (of_the_test, of_a_test_before)] == [False, True]
    assert of_the_test.communicate()[0] == of_a_test_before.communicate()[0] != ""


def test_a_fork_is_a_child_that_can_be_killed(tmp_path):
    process = start("pipeline", folder=tmp_path, start_new_session=True)
    process.kill()
    assert process.wait() == -9
