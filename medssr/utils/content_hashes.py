"""Hashes of files that several processes and steps ask for: each large file is hashed once."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medssr.utils.files import hash_file, hash_files, hash_path, write_json_atomically
from medssr.utils.locks import hold_lock

# Size, inode and times of change.
_State = list[int]


@dataclass(frozen=True, slots=True)
class ContentHashes:
    """Hashes of files and folders by content; those of large files are kept in a folder.

    A kept hash holds for as long as the file has the same size, inode and times of change. A process that asks for the
    hash of a file while another computes it waits for that one, so processes that start together read a model once.
    Where the folder cannot be written, hashes that are kept there are used, and no others are added; neither are they
    where the folder above is not there yet, which a command that only plans must not make.

    Attributes:
        folder: Where hashes are kept.
        min_bytes: The size from which the hash of a file is kept; smaller ones are read again.
    """

    folder: Path
    min_bytes: int = 2**20

    def of(self, path: Path) -> str:
        """Returns what `hash_path` returns."""
        return hash_path(path, self.of_file)

    def of_files(self, files: Sequence[Path]) -> list[str]:
        """Returns the hash of each file."""
        return hash_files(files, self.of_file)

    def computed_again(self, files: Sequence[Path]) -> list[str]:
        """Returns the hash of each file as it is on disk now, whatever is kept of it."""
        return hash_files(files, lambda file: self._of_file(file, is_trusted=False))

    def of_file(self, file: Path) -> str:
        """Returns the hash of a file."""
        return self._of_file(file, is_trusted=True)

    def _of_file(self, file: Path, *, is_trusted: bool) -> str:
        if file.stat().st_size < self.min_bytes:
            return hash_file(file)
        kept = self.folder / f"{hashlib.sha256(str(file.resolve()).encode()).hexdigest()}.json"
        remembered = _remembered(kept, _state(file)) if is_trusted else None
        if remembered is not None:
            return remembered
        if not _can_write(self.folder):
            return hash_file(file)
        self.folder.mkdir(parents=True, exist_ok=True)
        with hold_lock(kept.with_suffix(".lock"), f"the hash of {file}"):
            state = _state(file)
            remembered = _remembered(kept, state) if is_trusted else None  # of the process that this one waited for
            if remembered is not None:
                return remembered
            digest = hash_file(file)
            if _state(file) == state:  # else it was written meanwhile
                write_json_atomically(kept, {"file": str(file), "state": state, "sha256": digest})
        return digest


def _state(file: Path) -> _State:
    status = file.stat()
    return [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]


def _remembered(kept: Path, state: _State) -> str | None:
    """Returns the hash that is kept for a file in this state; None where there is none, or its record is damaged."""
    try:
        record = json.loads(kept.read_text(encoding="utf-8"))
        return str(record["sha256"]) if record["state"] == state else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _can_write(folder: Path) -> bool:
    return os.access(folder if folder.exists() else folder.parent, os.W_OK)
