"""The hashes of a folder's files, kept within it, by which damage of the folder is noticed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from medssr.errors import InputError
from medssr.utils.files import hash_file, hash_files, read_record, write_json_atomically

HASHES_FILE = "sha256.json"


def write_hashes(folder: Path) -> None:
    """Writes the SHA-256 of all files in a folder into the file `sha256.json` of the folder."""
    write_json_atomically(folder / HASHES_FILE, _hashes(folder, hash_file))


def folder_fault(folder: Path, hash_of: Callable[[Path], str] = hash_file) -> str | None:
    """Returns the damage of a folder with hashes, as the end of a sentence; None if its files are as they were written.

    Args:
        folder: The folder.
        hash_of: Returns the SHA-256 of a file.
    """
    try:
        written = read_record(folder / HASHES_FILE, "")
    except InputError as error:
        return f"is damaged ({error})"
    present = _hashes(folder, hash_of)
    damaged = [name for name, digest in written.items() if present.get(name) != digest]
    return f"is damaged (content of {damaged[0]})" if damaged else None


def _hashes(folder: Path, hash_of: Callable[[Path], str]) -> dict[str, str]:
    """Returns the SHA-256 of the files in a folder by their paths in it."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.name != HASHES_FILE]
    names = (file.relative_to(folder).as_posix() for file in files)
    return dict(zip(names, hash_files(files, hash_of), strict=True))
