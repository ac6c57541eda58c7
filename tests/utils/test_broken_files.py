"""Whatever a file holds, a reader returns values or raises InputError with a message of readable length."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.broken_files import (
    READERS,
    READERS_OF,
    RECORDS,
    SUFFIXES,
    VALUES,
    arrow_bytes,
    contents,
    damaged_records,
    odd_records,
    table_bytes,
)

from medssr.errors import InputError

GIVEN_INPUTS = Path(__file__).parents[3] / "shared" / "data" / "inputs"
_LONGEST_MESSAGE = 2000


@pytest.fixture(autouse=True)
def _quiet():
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def read(path: Path, readers) -> dict[str, str | None]:
    """What became of the file with each reader: None where it was read, else the message."""
    outcomes: dict[str, str | None] = {}
    for name in readers:
        try:
            READERS[name](path)
            outcomes[name] = None
        except InputError as error:
            outcomes[name] = str(error)
            assert len(str(error)) < _LONGEST_MESSAGE + len(str(path)), f"{name}: {str(error)[:200]}"
        except BaseException as error:
            raise AssertionError(f"{path.name} by {name}: {type(error).__name__}") from error
    return outcomes


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_odd_contents_of_any_ending_are_read_or_refused(tmp_path, suffix):
    for number, (_, data) in enumerate(contents()):
        path = tmp_path / f"{number}{suffix}"
        path.write_bytes(data)
        read(path, READERS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", RECORDS)
def test_damaged_files_are_read_or_refused(tmp_path, kind):
    for name, data, endings in damaged_records(kind):
        for suffix in endings:
            path = tmp_path / f"file{suffix}"
            path.write_bytes(data)
            outcomes = read(path, ("records", *READERS_OF[kind]))
            if name == "good" and suffix == ".jsonl":
                assert outcomes["records"] is outcomes[READERS_OF[kind][0]] is None
            if "cut" in name and name != "cut" and suffix != ".arrow":
                assert outcomes["records"] is not None, name


@pytest.mark.slow
@pytest.mark.parametrize("kind", RECORDS)
def test_odd_values_in_any_field_are_read_or_refused(tmp_path, kind):
    for number, (_, data) in enumerate(odd_records(kind)):
        path = tmp_path / f"{number}.jsonl"
        path.write_bytes(data)
        read(path, ("records", *READERS_OF[kind]))


@st.composite
def spoiled(draw) -> tuple[str, str, bytes]:
    """A file of some kind of record that was cut, or got or lost bytes somewhere: kind, ending, content."""
    kind = draw(st.sampled_from(sorted(RECORDS)))
    record = RECORDS[kind]
    line = json.dumps(record).encode()
    data_of = {
        ".jsonl": line + b"\n" + line,
        ".json": b"[" + line + b"," + line + b"]",
        ".csv": table_bytes(record, ","),
        ".tsv": table_bytes(record, "\t"),
        ".parquet": arrow_bytes(record, is_parquet=True),
        ".arrow": arrow_bytes(record, is_parquet=False),
    }
    suffix = draw(st.sampled_from(sorted(data_of)))
    data = data_of[suffix]
    pieces = st.one_of(st.binary(max_size=4), st.sampled_from([value.encode()[:50] for value in VALUES]))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 40)))
        data = data[:start] + draw(pieces) + data[end:]
    return kind, suffix, data


@pytest.mark.slow
@given(spoiled())
@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
def test_spoiled_files_are_read_or_refused(tmp_path_factory, file):
    kind, suffix, data = file
    path = tmp_path_factory.getbasetemp() / f"spoiled{suffix}"
    path.write_bytes(data)
    read(path, ("records", *READERS_OF[kind]))


def odd_paths(folder: Path) -> dict[str, Path]:
    """Paths that are no file."""
    os.mkfifo(folder / "pipe.jsonl")
    (folder / "loop.jsonl").symlink_to(folder / "loop.jsonl")
    (folder / "dangling.jsonl").symlink_to(folder / "nowhere")
    (folder / "empty_folder").mkdir()
    (folder / "file").write_text("x")
    names = [
        "pipe.jsonl",
        "loop.jsonl",
        "dangling.jsonl",
        "empty_folder",
        "file/below.jsonl",
        "x" * 5000,
        "a\0b",
        "none",
    ]
    return {name: folder / name for name in names}


def test_what_is_no_file_is_refused_by_every_reader(tmp_path):
    for name, path in odd_paths(tmp_path).items():
        for reader, message in read(path, READERS).items():
            assert message is not None, (name, reader)
    assert "is a pipe or a device" in read(tmp_path / "pipe.jsonl", ["records"])["records"]
    assert "Too many levels of symbolic links" in read(tmp_path / "loop.jsonl", ["corpus"])["corpus"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": ' + "[" * 100_000 + "]" * 100_000 + "}", "is nested too deeply"),
        ('{"id": ' + "[" * 200 + "]" * 200 + "}", "is nested too deeply"),
        ('{"id": ' + "9" * 10_000 + "}", "holds a number that cannot be read"),
        ('{"id": "\\ud83d"}', "half a surrogate pair"),
        ('{"id": "q", "id": "r"}', "occurs twice"),
    ],
)
def test_the_message_names_the_line(tmp_path, line, message):
    path = tmp_path / "file.jsonl"
    path.write_text(f'{{"id": "first"}}\n{line}\n')
    outcome = read(path, ["records"])["records"]
    assert f"{path}, line 2" in outcome
    assert message in outcome


@pytest.mark.skipif(not GIVEN_INPUTS.is_dir(), reason="shared/data/inputs is not here")
def test_the_given_files_are_read_or_refused_by_every_reader():
    for path in sorted(GIVEN_INPUTS.iterdir()):
        read(path, READERS)
