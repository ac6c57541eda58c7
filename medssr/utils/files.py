"""Reads and writes files that are complete or absent: atomic writes, hashes, JSON."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from medssr.errors import InputError
from medssr.utils.disk_faults import writes_to
from medssr.utils.json_text import JsonText, StrictDecoder, parse_json
from medssr.utils.text_files import open_bytes, read_lines, read_text

_KINDS = {str: "a text", dict: "an object", int: "a whole number", float: "a number", bool: "true or false"}
# More threads than this do not read a disk faster.
_MAX_READERS = 8


@contextmanager
def open_atomically(path: Path) -> Iterator[TextIO]:
    """Yields a text file that takes the name `path` only once it is whole and on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with writes_to(path), temporary.open("w", encoding="utf-8") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_lines_atomically(path: Path, lines: Iterable[str]) -> int:
    """Writes the lines, whole or not at all, and returns how many there were."""
    count = 0
    with open_atomically(path) as stream:
        for line in lines:
            stream.write(line + "\n")
            count += 1
    return count


def write_json_atomically(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, whole or not at all."""
    with open_atomically(path) as stream:
        json.dump(value, stream, indent=2, ensure_ascii=False)
        stream.write("\n")


def read_record(path: Path, remedy: str, **fields: type) -> dict[str, Any]:
    """Returns the object in a JSON file that medssr wrote.

    Args:
        path: The file.
        remedy: What to do when it is damaged, a sentence.
        fields: The types of the fields that it must have.

    Raises:
        InputError: When the file is absent, empty, cut, no JSON object, or lacks a field. The message has the remedy.
    """
    try:
        source = JsonText(read_text(path, may_be_legacy=False).content, path, decoder=StrictDecoder(allows_nan=True))
        start = source.skip_space(0)
        if start == len(source.text):
            raise InputError.at(path, "is empty.")
        value, end = source.value(start)
        if source.skip_space(end) < len(source.text):
            raise InputError.at(path, "holds more than one JSON value.", line=source.line(end))
        source.check(value, start)
    except InputError as error:
        raise InputError(f"{error} {remedy}") from error
    if not isinstance(value, dict):
        raise InputError.at(path, f"holds a JSON {type(value).__name__}, expected an object. {remedy}")
    for name, kind in fields.items():
        is_number = kind is float and type(value.get(name)) is int
        if not isinstance(value.get(name), kind) and not is_number:
            problem = f"found {value[name]!r:.60}" if name in value else "is missing"
            raise InputError.at(path, f"{problem}; expected {_KINDS[kind]}. {remedy}", field=name)
    return value


def read_jsonl(path: Path, *, allows_nan: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (line number, object) for each line of a JSONL file.

    Args:
        path: The file.
        allows_nan: Whether NaN and Infinity are numbers, as in files that medssr itself has written.

    Raises:
        InputError: When the file is absent, a line is no JSON object, or a field holds what JSON or UTF-8 does not
            have. The message names file, line and field.
    """
    decoder = StrictDecoder(allows_nan=allows_nan)
    with open_bytes(path) as stream:  # as bytes, so that a wrong encoding has a line too
        for number, line in read_lines(stream, path):
            if not line.strip():
                continue
            try:
                text = line.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                problem = f"is not UTF-8 text ({error.reason}); convert the file."
                raise InputError.at(path, problem, line=number) from error
            record = parse_json(text, path, number, decoder)
            if not isinstance(record, dict):
                raise InputError.at(path, f"is a JSON {type(record).__name__}, expected an object.", line=number)
            yield number, record


def sync_folder(folder: Path) -> None:
    """Waits until all files below a folder are on disk, and gives them the permissions that the umask leaves.

    Libraries that write a file under a temporary name may have made it for its owner alone.
    """
    for path in [*folder.rglob("*"), folder]:
        if path.is_file():
            set_default_mode(path)
        sync(path)


def set_default_mode(file: Path) -> None:
    """Gives a file the permissions of a new one: what the umask leaves, executable if its owner may execute it."""
    umask = os.umask(0)
    os.umask(umask)
    file.chmod((0o777 if file.stat().st_mode & 0o100 else 0o666) & ~umask)


def sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hash_file(path: Path) -> str:
    """Returns the SHA-256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_files(files: Sequence[Path], hash_of: Callable[[Path], str] = hash_file) -> list[str]:
    """Returns the SHA-256 of each file's content, computed in several threads."""
    if len(files) < 2:
        return [hash_of(file) for file in files]
    readers = ThreadPoolExecutor(min(_MAX_READERS, len(files), os.cpu_count() or 1))
    try:
        return list(readers.map(hash_of, files))
    finally:
        readers.shutdown(cancel_futures=True)  # a signal waits for the files that are being read, not for all


def hash_path(path: Path, hash_of: Callable[[Path], str] = hash_file) -> str:
    """Returns the SHA-256 of a file, or of the names and contents of all files below a folder.

    Args:
        path: The file or folder.
        hash_of: Returns the SHA-256 of a file's content.
    """
    if path.is_file():
        return hash_of(path)
    digest = hashlib.sha256()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    for file, content in zip(files, hash_files(files, hash_of), strict=True):
        digest.update(f"{file.relative_to(path).as_posix()} {content}\n".encode())
    return digest.hexdigest()
