from __future__ import annotations

import importlib.metadata
import resource
import shutil

import pytest
import torch

from medssr.commands.doctor.findings import State, fine, run_check
from medssr.commands.doctor.machine import (
    available_memory,
    check_disk,
    check_gpus,
    check_memory,
    check_packages,
    check_processes,
    check_python,
    check_threads,
    check_writing,
    existing_parent,
)


@pytest.mark.parametrize(
    ("version", "state"), [((3, 10, 4), State.lacking), ((3, 11, 0), State.fine), ((4, 0, 0), State.fine)]
)
def test_python(version, state):
    result = check_python(version)
    assert result.state is state
    assert result.observation == ".".join(map(str, version))


def test_packages():
    present = f"torch=={torch.__version__.split('+')[0]}"
    result = check_packages([present, "numpy>=1.0,<9", 'nothing-such==1.0; extra == "dev"'])
    assert result.observation == "2 within the bounds"
    other = check_packages([present, "numpy<1.0"])
    assert (other.state, "needed <1.0" in other.observation) == (State.advice, True)
    absent = check_packages([present, "numpy<1.0", "no-such-package>=1.0"])
    assert absent.state is State.lacking
    assert "no-such-package" in absent.observation
    assert "numpy" in absent.observation


def test_the_requirements_of_medssr_itself_are_read():
    """Its metadata has bounds, not exact versions."""
    assert check_packages(importlib.metadata.requires("medssr")).state is State.fine


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about a machine without a GPU")
def test_a_gpu_is_lacking_only_where_it_is_needed():
    assert check_gpus(False, [0], 10**15).state is State.fine
    result = check_gpus(True, [0], None)
    assert result.state is State.lacking
    assert "trainer=cpu" in result.remedy


def test_memory():
    assert check_memory(10**9, None).state is State.fine
    assert check_memory(10**9, 10**9).state is State.fine
    result = check_memory(10**9, 131 * 10**9)
    assert (result.state, result.observation) == (State.lacking, "1.0 GB available; 131.0 GB needed")


def test_a_container_s_limit_counts(tmp_path):
    limit = tmp_path / "memory.max"
    assert available_memory(limit) > 0
    limit.write_text("max\n")
    assert available_memory(limit) > 1000
    limit.write_text("1000\n")
    assert available_memory(limit) == 1000


def test_disk(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    assert check_disk(tmp_path / "not" / "yet", 1).state is State.fine
    result = check_disk(tmp_path, 2 * free + 10**12)
    assert result.state is State.lacking
    assert "paths.artifact_dir" in result.remedy


def test_writing(tmp_path):
    assert check_writing(tmp_path / "not" / "yet").state is State.fine
    assert not (tmp_path / "not").exists()
    (tmp_path / "file").touch()
    result = check_writing(tmp_path / "file" / "folder")
    assert result.state is State.lacking
    assert "Not a directory" in result.observation
    assert "MEDSSR_ROOT" in result.remedy


def test_few_open_files_are_advised_against():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        result = check_processes()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (result.state, result.observation) == (State.advice, "512 open files allowed")
    assert check_processes().state is State.fine


def test_no_room_for_another_process():
    """No process can be started if too few open files are allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        result = check_processes()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert result.state is State.lacking
    assert "ulimit" in result.remedy


@pytest.mark.parametrize(
    ("configured", "variable", "state"),
    [
        (None, None, State.fine),
        (2, "64", State.fine),
        (8, None, State.advice),
        (None, "8", State.advice),
        (None, "1", State.fine),
        (None, "all", State.fine),
    ],
)
def test_threads(configured, variable, state):
    assert check_threads(configured, variable, num_cores=2).state is state


def test_the_nearest_folder_that_there_is(tmp_path):
    assert existing_parent(tmp_path / "a" / "b") == existing_parent(tmp_path) == tmp_path


def test_a_check_that_fails_is_a_finding():
    def broken():
        raise RuntimeError("the driver is too old")

    result = run_check("GPU", broken)
    assert (result.subject, result.state) == ("GPU", State.advice)
    assert "the driver is too old" in result.observation
    assert run_check("GPU", lambda: fine("GPU", "one")) == fine("GPU", "one")
