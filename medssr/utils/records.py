"""Reads the records of a data file, whatever holds them: JSONL, JSON, CSV, Parquet, Arrow, or a folder of such files.

| container | is known by |
|---|---|
| Parquet, Arrow | the ending |
| CSV, TSV | the ending |
| JSON list | `[` at the start |
| JSONL | an object on the first line |
| JSON objects, indented, one behind another | `{` at the start, and more than one object |
| JSON object that holds records, in lists or by their ids, at any depth | `{` at the start, and no record itself |
| folder | `save_to_disk` of `datasets`, or files of the kinds above |
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from medssr.errors import InputError, shown
from medssr.utils.arrow_files import ARROW_SUFFIXES, read_arrow, saved_files
from medssr.utils.files import read_jsonl
from medssr.utils.json_text import JsonText
from medssr.utils.tables import TABLE_SUFFIXES, read_table
from medssr.utils.text_files import MAX_LINE_BYTES, data_suffix, is_folder, open_bytes, read_text

JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
DATA_SUFFIXES = (*JSON_SUFFIXES, *TABLE_SUFFIXES, *ARROW_SUFFIXES)
# Files that describe a dataset and hold none of it.
_DESCRIPTIONS = frozenset({"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"})
_SPLIT = re.compile(r"(?:^|[^a-z])(train|test|validation|valid|val|dev)(?![a-z])")

# How deep records may lie inside a JSON value: data set, exam, list, row.
_MAX_DEPTH = 5

IsRecord = Callable[[Mapping[str, Any]], bool]
HeaderOf = Callable[[list[str]], "list[str] | None"]


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a file.

    Attributes:
        value: Its fields.
        path: Its file.
        number: Its number in the file, from 1.
        line: The line on which it starts; None in binary files.
        keys: The names and indices that lead to it in a JSON value that holds records.
    """

    value: dict[str, Any]
    path: Path
    number: int
    line: int | None = None
    keys: tuple[str | int, ...] = ()

    def error(self, problem: str, field: str | None = None) -> InputError:
        """Returns an error that names the record and one of its fields."""
        if self.line is None:
            return InputError.at(f"{self.path}, row {self.number}", problem, field=field)
        if self.line < self.number:  # several records on one line
            return InputError.at(f"{self.path}, record {self.number}", problem, line=self.line, field=field)
        return InputError.at(self.path, problem, line=self.line, field=field)


@dataclass(frozen=True, slots=True)
class RecordFile:
    """The records of a file or folder, which can be read several times.

    Attributes:
        path: The file or folder.
        container: What holds the records, in words: "JSONL", "CSV (semicolon)".
        read: Starts reading; a JSONL file is read line by line, anything else is held in memory or read in batches.
        is_table: Whether values are texts in columns, so that an empty text means no value.
    """

    path: Path
    container: str
    read: Callable[[], Iterator[Record]]
    is_table: bool = False

    def __iter__(self) -> Iterator[Record]:
        """Yields the records in order."""
        return self.read()


def open_records(path: Path, is_record: IsRecord = lambda value: True, header: HeaderOf | None = None) -> RecordFile:
    """Returns the records of a file or folder.

    Args:
        path: The file or folder.
        is_record: Whether an object is a record; others may hold records.
        header: Gives the names of the columns of a table by its first row, None where that row has them.

    Raises:
        InputError: When the file is absent, is nothing that holds records, or (while records are read) is broken.
            The message names file, line and field.
    """
    if is_folder(path):
        return _open_folder(path, is_record, header)
    suffix = data_suffix(path)
    if suffix in ARROW_SUFFIXES:
        return RecordFile(path, "Parquet" if suffix == ".parquet" else "Arrow", lambda: _arrow_records(path))
    if suffix in TABLE_SUFFIXES:
        return _open_table(path, header)
    return _open_json(path, is_record)


def data_files(folder: Path, *, is_deep: bool) -> list[Path]:
    """Returns the files of a folder that hold records, in the order of their names; `is_deep` includes subfolders."""
    return [
        file
        for file in sorted(folder.rglob("*") if is_deep else folder.iterdir())
        if file.is_file()
        and data_suffix(file) in DATA_SUFFIXES
        and file.name not in _DESCRIPTIONS
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]


def is_saved_dataset(path: Path) -> bool:
    """Returns whether a folder was written by `save_to_disk` of `datasets`."""
    return (path / "state.json").is_file() or (path / "dataset_dict.json").is_file()


def source_name(path: Path) -> str:
    """Returns the name of a file without its endings, or of a folder."""
    return path.resolve().name if path.is_dir() else Path(path.name.removesuffix(".gz")).stem


def _open_folder(path: Path, is_record: IsRecord, header: HeaderOf | None) -> RecordFile:
    saved = saved_files(path)
    if saved is not None:
        return _joined(path, "saved by datasets", [open_records(file, is_record, header) for file in saved])
    files = data_files(path, is_deep=True)
    if not files:
        raise InputError.at(path, f"the folder holds no data file ({', '.join(DATA_SUFFIXES)}).")
    splits = {file: match[1] for file in files if (match := _SPLIT.search(str(file.relative_to(path)).lower()))}
    if len(set(splits.values())) > 1:
        examples = " or ".join(str(file) for file in files[:2])
        names = ", ".join(sorted(set(splits.values())))
        raise InputError.at(path, f"the folder holds several splits ({names}); name one file: {examples}.")
    if len(files) == 1:
        return replace(open_records(files[0], is_record, header), path=path)
    return _joined(path, f"{len(files)} files", [open_records(file, is_record, header) for file in files])


def _joined(path: Path, container: str, files: list[RecordFile]) -> RecordFile:
    kinds = list(dict.fromkeys(file.container for file in files))
    return RecordFile(
        path,
        f"folder, {container}" + (f": {', '.join(kinds)}" if kinds else ""),
        lambda: (record for file in files for record in file),
        is_table=any(file.is_table for file in files),
    )


def _arrow_records(path: Path) -> Iterator[Record]:
    for number, row in enumerate(read_arrow(path), start=1):
        yield Record(row, path, number)


def _open_table(path: Path, header: HeaderOf | None) -> RecordFile:
    table = read_table(path)
    first = table.rows[0].cells if table.rows else []
    names = header(first) if header is not None and first else None

    def read() -> Iterator[Record]:
        for number, (line, row) in enumerate(table.records(names), start=1):
            yield Record(row, path, number, line)

    container = table.description + ("" if names is None else " without header")
    return RecordFile(path, container, read, is_table=True)


def _open_json(path: Path, is_record: IsRecord) -> RecordFile:
    """Returns the records of a JSON file; its first line says whether it is read line by line."""
    with open_bytes(path) as stream:
        # Without `read_lines`: a list may be one line of any length, and is read as a whole.
        parts = iter(partial(stream.readline, MAX_LINE_BYTES), b"")
        lines = (line.strip().removeprefix(b"\xef\xbb\xbf") for line in parts)
        filled = (line for line in lines if line)
        first, second = next(filled, b""), next(filled, None)
    lone_object = second is None and first.startswith(b"{")
    if not first.startswith((b"{", b"[")) and data_suffix(path) not in JSON_SUFFIXES and first:
        expected = ", ".join(DATA_SUFFIXES)
        raise InputError.at(path, f"starts with {first[:40]!r}, which is no JSON; expected JSON, or one of {expected}.")
    if not first.startswith(b"[") and not lone_object and not _is_cut(first):
        return RecordFile(path, "JSONL", lambda: _jsonl_records(path))
    source = JsonText(read_text(path, may_be_legacy=False).content, path)
    if first.startswith(b"["):
        return RecordFile(path, "JSON list", lambda: _walk(source, source.skip_space(0), is_record))
    values = [value for _, value in source.values()]
    if len(values) == 1 and (rows := _rows_of_columns(values[0], is_record)) is not None:
        return RecordFile(path, "JSON object of columns", lambda: _column_records(source, rows))
    first_record = None
    if len(values) == 1 and not is_record(values[0]):
        first_record = next(_walk(source, source.skip_space(0), is_record), None)
    if first_record is None:
        container = "JSONL" if lone_object else "JSON, indented objects one behind another"
        return RecordFile(path, container, lambda: _successive(source))
    container = _object_container(first_record.keys)
    return RecordFile(path, container, lambda: _walk(source, source.skip_space(0), is_record))


def _rows_of_columns(value: Mapping[str, Any], is_record: IsRecord) -> list[dict[str, Any]] | None:
    """Returns the rows of an object that has a column in each member, as pandas writes tables; None for any other."""
    columns = list(value.values())
    if not columns or not all(isinstance(column, dict) and column for column in columns):
        return None
    if any(column.keys() != columns[0].keys() for column in columns):
        return None
    rows = [{name: column[index] for name, column in value.items()} for index in columns[0]]
    return rows if is_record(rows[0]) and not any(is_record(column) for column in columns) else None


def _column_records(source: JsonText, rows: list[dict[str, Any]]) -> Iterator[Record]:
    for number, row in enumerate(rows, start=1):
        yield _record(source, row, 0, number, ())


def _object_container(keys: tuple[str | int, ...]) -> str:
    """Returns what an object is whose first record lies behind these keys."""
    if any(isinstance(key, int) for key in keys):
        return "JSON object of lists"
    return "JSON object by id" if len(keys) == 1 else "JSON object of data sets, each by id"


def _is_cut(line: bytes) -> bool:
    """Returns whether a line is the beginning of an object that goes on on the next line."""
    try:
        json.loads(line)
    except ValueError:
        return line.startswith(b"{")
    except RecursionError:
        return False
    return False


def _jsonl_records(path: Path) -> Iterator[Record]:
    for number, (line, value) in enumerate(read_jsonl(path), start=1):
        yield Record(value, path, number, line)


def _successive(source: JsonText) -> Iterator[Record]:
    for number, (position, value) in enumerate(source.values(), start=1):
        yield _record(source, value, position, number, ())


def _walk(source: JsonText, start: int, is_record: IsRecord) -> Iterator[Record]:
    """Yields the records inside a JSON value, with their lines and the keys that lead to them.

    Where one member of a list or object is a record, all of its members that are lists or objects have to be. A list at
    the top in which no record is found is taken for a list of faulty ones.
    """
    number = 0

    def walk(position: int, keys: tuple[str | int, ...]) -> Iterator[Record]:
        nonlocal number
        is_list = source.text[position] == "["
        members = list(source.members(position))
        values = [value for _, _, value in members]
        has_records = any(isinstance(value, dict) and is_record(value) for value in values)
        if is_list and not keys and not any(_contains(value, is_record, _MAX_DEPTH) for value in values):
            has_records = True
        for key, at, value in members:
            if has_records and (is_list or isinstance(value, dict | list)):
                number += 1
                yield _record(source, value, at, number, (*keys, key))
            elif isinstance(value, dict | list) and len(keys) < _MAX_DEPTH:
                yield from walk(at, (*keys, key))

    yield from walk(start, ())


def _contains(value: Any, is_record: IsRecord, depth: int) -> bool:
    """Returns whether a JSON value is a record or holds one, at most so deep."""
    if not isinstance(value, dict | list) or depth < 0:
        return False
    if isinstance(value, dict) and is_record(value):
        return True
    return any(
        _contains(member, is_record, depth - 1) for member in (value.values() if isinstance(value, dict) else value)
    )


def _record(source: JsonText, value: Any, position: int, number: int, keys: tuple[str | int, ...]) -> Record:
    source.check(value, position)
    if not isinstance(value, dict):
        problem = f"found {type(value).__name__} {shown(value)}, expected an object."
        raise InputError.at(source.path, problem, line=source.line(position))
    return Record(value, source.path, number, source.line(position), keys)
