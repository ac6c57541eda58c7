"""Hashes of files that several processes and steps ask for: each large file is hashed once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from medssr.utils.files import hash_file, hash_path, write_json_atomically


@dataclass(frozen=True, slots=True)
class ContentHashes:
    """Hashes of files and folders by content; those of large files are kept in a folder.

    A kept hash holds for as long as the file has the same size, inode and times of change. A process that asks for the
    hash of a file while another computes it waits for that one, so processes that start together read a model once.

    Attributes:
        folder: Where hashes are kept.
        min_bytes: The size from which the hash of a file is kept; smaller ones are read again.
    """

    folder: Path
    min_bytes: int = 64 * 2**20

    def of(self, path: Path) -> str:
        """Returns what `hash_path` returns."""
        return hash_path(path, self._of_file)

    def _of_file(self, file: Path) -> str:
        from filelock import FileLock

        status = file.stat()
        if status.st_size < self.min_bytes:
            return hash_file(file)
        state = [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = self.folder / f"{hashlib.sha256(str(file.resolve()).encode()).hexdigest()}.json"
        with FileLock(kept.with_suffix(".lock")):
            if kept.is_file():
                remembered = json.loads(kept.read_text(encoding="utf-8"))
                if remembered["state"] == state:
                    return str(remembered["sha256"])
            digest = hash_file(file)
            write_json_atomically(kept, {"file": str(file), "state": state, "sha256": digest})
        return digest
