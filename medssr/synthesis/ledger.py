"""The ledger of paid calls: an append-only file of what a server answered."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from medssr.errors import InputError


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One call to a server.

    Attributes:
        key: Names everything that the answer depends on.
        index: Number of the request that the call belongs to.
        attempt: 0 for the request's first call, 1 for its repair.
        outcome: How the call ended: "response", "refusal", "truncated", or the reason of an error.
        response: The text of the answer; None when there is none.
        error: What went wrong; None when the server answered.
        prompt_tokens: Tokens that the server counted in the prompt; None when it did not say.
        completion_tokens: The same for the answer.
        latency_s: Seconds that the call took, with its retries.
    """

    key: str
    index: int
    attempt: int
    outcome: str
    response: str | None
    error: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    latency_s: float


class Ledger:
    """The entries of a JSONL file, and a way to add one that is on disk when it returns.

    Threads and processes may share a file; each process sees its own entries and those that were there when it opened
    the file. A last line that was torn when its writer was killed is dropped.

    Attributes:
        path: The file. It and its folder are made when the first entry is added.

    Raises:
        InputError: When another line than the last is broken.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._thread_lock = threading.Lock()
        self._entries: dict[str, LedgerEntry] = {}
        if self.path.exists():
            with self._process_lock():
                self._load()

    def __len__(self) -> int:
        return len(self._entries)

    def answer(self, key: str) -> LedgerEntry | None:
        """Returns the entry with this key in which the server answered, or None: errors are worth another try."""
        entry = self._entries.get(key)
        return entry if entry is not None and entry.error is None else None

    def append(self, entry: LedgerEntry) -> None:
        """Adds the entry; it is on disk when this returns."""
        line = json.dumps(asdict(entry)) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._thread_lock, self._process_lock(), self.path.open("a", encoding="utf-8") as stream:
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
            self._entries[entry.key] = entry

    def _process_lock(self) -> FileLock:
        return FileLock(self.path.with_name(f"{self.path.name}.lock"))

    def _load(self) -> None:
        """Reads the entries and cuts a torn last line off the file."""
        lines = self.path.read_bytes().splitlines(keepends=True)
        end = 0
        for number, line in enumerate(lines, start=1):
            try:
                if not line.endswith(b"\n"):
                    raise ValueError("the line is cut off")
                entry = LedgerEntry(**json.loads(line))
            except (ValueError, TypeError) as error:
                if number < len(lines):
                    problem = f"is no ledger entry ({error}); restore the file, or move it away to start afresh."
                    raise InputError.at(self.path, problem, line=number) from error
                os.truncate(self.path, end)
                return
            self._entries[entry.key] = entry
            end += len(line)
