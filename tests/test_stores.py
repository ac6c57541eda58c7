"""Tests that finished artefacts are used from folders that can only be read."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.made import flip_a_bit, make, use

from medssr.artifacts import Step
from medssr.errors import InputError


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Makes a folder one that can only be read, for root too where it may mount."""
    if os.geteuid() == 0:
        mounts = (["mount", "--bind", folder, folder], ["mount", "-o", "remount,ro,bind", folder])
        if any(subprocess.run(command, capture_output=True, check=False).returncode for command in mounts):
            subprocess.run(["umount", folder], capture_output=True, check=False)
            pytest.skip("root, which may write everywhere and may not mount here")
        try:
            yield
        finally:
            subprocess.run(["umount", folder], check=True)
    else:
        directories = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
        for directory in directories:
            directory.chmod(0o555)
        try:
            yield
        finally:
            for directory in directories:
                directory.chmod(0o755)


def files(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def test_a_store_that_can_only_be_read_serves_what_is_finished(tmp_path):
    store, own = tmp_path / "store", tmp_path / "own"
    made = make(store)
    before = files(store)
    with read_only(store):
        with pytest.raises(OSError, match=r"[Rr]ead-only|[Pp]ermission"):
            (store / "probe").touch()
        for verify in (False, True):
            found = make(own, stores=(store,), verify=verify)
            assert found == made
        used = use(found.path("model"), own)
    assert files(store) == before
    assert used.directory.is_relative_to(own)
    assert not (own / "make").exists()


def test_the_own_folder_serves_what_is_finished_when_it_can_only_be_read(tmp_path):
    made = make(tmp_path)
    before = files(tmp_path)
    with read_only(tmp_path):
        assert make(tmp_path) == make(tmp_path, verify=True) == made
    assert files(tmp_path) == before


def test_the_own_folder_comes_first_and_then_the_stores_in_order(tmp_path):
    stores = (tmp_path / "first", tmp_path / "second")
    stores[0].mkdir()
    second = make(stores[1])
    assert make(tmp_path / "own", stores=stores) == second
    first = make(stores[0])
    assert make(tmp_path / "own", stores=stores).directory == first.directory
    own = make(tmp_path / "own", stores=stores, force=True)
    assert own.directory.is_relative_to(tmp_path / "own")
    assert make(tmp_path / "own", stores=stores).directory == own.directory


def test_what_a_store_has_not_finished_is_made_in_the_own_folder(tmp_path):
    store = tmp_path / "store"
    unfinished = make(store)
    unfinished.path("manifest.json").unlink()
    before = files(store)
    made = make(tmp_path / "own", stores=(store,))
    assert made.directory == tmp_path / "own" / "make" / made.fingerprint
    assert files(store) == before


def test_a_damaged_artefact_of_a_store_is_refused_with_a_way_out(tmp_path):
    store, own = tmp_path / "store", tmp_path / "own"
    flip_a_bit(make(store).path("questions.jsonl"))
    with read_only(store), pytest.raises(InputError, match=r"another content.*leave its store out of paths\.artifact_"):
        make(own, stores=(store,))
    assert make(own, stores=(store,), force=True).directory.is_relative_to(own)


def test_a_store_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=rf"paths\.artifact_stores: there is no folder {tmp_path}/typo"):
        make(tmp_path / "own", stores=(tmp_path / "typo",))


@pytest.mark.slow
def test_a_step_has_the_stores_of_its_command(tmp_path):
    from support.helpers import typed

    (tmp_path / "q.jsonl").write_text("{}\n")
    settings = [f"paths.artifact_dir={tmp_path}/own", f"paths.artifact_stores=[{tmp_path}/a,b]"]
    step = Step.of("audit", typed("audit", f"data.path={tmp_path}/q.jsonl", "verify=true", *settings))
    assert step.artifact_dir == tmp_path / "own"
    assert step.stores == (tmp_path / "a", Path("b").absolute())
    assert step.verify
    assert not step.force
