"""The faults of a disk, as the libraries that write files raise them."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from safetensors.torch import save_file
from support.small_disks import fill, small_disk

from medssr.utils import disk_faults
from medssr.utils.disk_faults import disk_fault, only_watches, writes_to
from medssr.utils.files import open_atomically, write_json_atomically


def draw(file: Path) -> None:
    from matplotlib.figure import Figure

    mpl.use("Agg")
    Figure().savefig(file.with_suffix(".png"))


def insert(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE numbers (number INTEGER)")


WRITERS: dict[str, Callable[[Path], object]] = {
    "plain": lambda file: file.write_bytes(bytes(100_000)),
    "json": lambda file: write_json_atomically(file, "x" * 100_000),
    "safetensors": lambda file: save_file({"weight": torch.zeros(100_000)}, file),
    "torch": lambda file: torch.save(torch.zeros(100_000), file),
    "numpy": lambda file: np.save(file, np.zeros(100_000)),
    "parquet": lambda file: pyarrow.parquet.write_table(pa.table({"x": np.random.default_rng(0).random(50_000)}), file),
    "matplotlib": draw,
    "sqlite": insert,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_told_from_other_errors_whichever_library_writes(writer, tmp_path):
    with small_disk(tmp_path / "disk", "4k") as disk:
        fill(disk)
        with pytest.raises(Exception) as raised:
            WRITERS[writer](disk / "file")
    fault = disk_fault(raised.value)
    assert fault is not None
    assert fault.errno == errno.ENOSPC


def test_what_is_written_atomically_is_named(tmp_path):
    with small_disk(tmp_path / "disk", "4k") as disk:
        with pytest.raises(OSError) as raised, open_atomically(disk / "lines.txt") as stream:
            stream.write("x" * 100_000)
        assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(disk / "lines.txt"))
        assert list(disk.iterdir()) == []


def test_the_innermost_name_stays():
    with pytest.raises(OSError) as raised, writes_to(Path("/outer")), writes_to(Path("/inner")):
        raise OSError(errno.EDQUOT, "quota")
    assert raised.value.filename == "/inner"


def test_a_fault_behind_another_error_is_found():
    try:
        try:
            raise OSError(errno.EROFS, "read-only", "/there")
        except OSError as error:
            raise RuntimeError("the library gave up") from error
    except RuntimeError as error:
        assert disk_fault(error).filename == "/there"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a bug"),
        KeyError("No space"),
        RuntimeError("error 28"),
        RuntimeError("CUDA error: out of memory (os error 12)"),
        FileNotFoundError(errno.ENOENT, "absent", "/there"),
        ConnectionResetError(errno.ECONNRESET, "reset"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
    ],
)
def test_other_errors_are_no_faults_of_the_disk(error):
    assert disk_fault(error) is None


def test_what_only_watches_warns_once(monkeypatch, caplog):
    monkeypatch.setattr(disk_faults, "_warned", set())
    with caplog.at_level(logging.WARNING):
        for number in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
            with only_watches("tables", Path("/there")):
                raise OSError(number, os.strerror(number))
    assert [record.getMessage() for record in caplog.records] == [
        "/there: No space left on device, so tables are not written from now on; the work goes on"
    ]
    with pytest.raises(ValueError, match="a bug"), only_watches("tables", Path("/there")):
        raise ValueError("a bug")
