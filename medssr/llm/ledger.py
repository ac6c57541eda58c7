"""The ledger of calls to models: an append-only file of what was sent, what came back and what it cost."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medssr.errors import InputError
from medssr.llm.budget import Cost
from medssr.utils.disk_faults import writes_to


@dataclass(frozen=True, slots=True)
class Reply:
    """One call to a model and how it ended.

    Attributes:
        key: SHA-256 of everything that the answer depends on, and of what the call is for.
        purpose: What the call is for, e.g. ["synthesis", slot, attempt, 0].
        model: Name of the model.
        prompt_sha256: Hash of the messages.
        settings_sha256: Hash of model, sampling parameters and schema.
        seed: Sampling seed that was sent.
        outcome: "answer"; another ending that counts as answered: "refusal", "truncated", "empty_response",
            "malformed_response"; or the reason of a failure: "timeout", "connection", "api_error",
            "invalid_request".
        text: What the model wrote; None when there is nothing.
        error: What went wrong; None when the model answered.
        prompt_tokens: Tokens of the prompt; 0 for a call that failed.
        completion_tokens: The same for the answer.
        is_estimated: Whether the tokens are a guess from the length of the texts: the server did not count.
        dollars: Cost of the tokens; None without prices.
        num_attempts: How often the request was sent.
        failures: Why each attempt but the last failed.
        latency_s: Seconds from the first attempt to the end of the last, pauses included.
        problem: Why an answer is of no use, and the setting that would change it; None for a usable one.
        left_out: Parameters that the server does not take, so that the request was sent without them.
    """

    key: str
    purpose: list[str | int]
    model: str
    prompt_sha256: str
    settings_sha256: str
    seed: int
    outcome: str
    text: str | None
    error: str | None
    prompt_tokens: int
    completion_tokens: int
    is_estimated: bool
    dollars: float | None
    num_attempts: int
    failures: list[str]
    latency_s: float
    problem: str | None = None
    left_out: list[str] = field(default_factory=list)

    @property
    def is_answered(self) -> bool:
        """Whether the model answered, be it with a refusal: such a call is never made again."""
        return self.error is None

    @property
    def is_transient(self) -> bool:
        """Whether the same call may be answered later: the server or the way to it failed, not the request."""
        return not self.is_answered and self.outcome != "invalid_request"

    @property
    def why_unusable(self) -> str:
        """What went wrong, why the answer is of no use, or what the model wrote in place of one."""
        return self.error or ": ".join(filter(None, (self.problem, self.text)))

    @property
    def cost(self) -> Cost:
        """What the answer cost."""
        return Cost(self.prompt_tokens + self.completion_tokens, self.dollars or 0.0)


# Seconds until a lock of another process is given up, and between two looks at it.
_LONGEST_LOCK_S = 60.0
_LOOK_AGAIN_S = 0.01

_REPLY_FIELDS = tuple(Reply.__dataclass_fields__)


@dataclass(slots=True, eq=False)
class _Line:
    """A line to write, the reply that it holds, and what became of it."""

    text: bytes
    reply: Reply | None
    is_written: bool = False
    fault: OSError | InputError | None = None


class Ledger:
    """The lines of a JSONL file: "sent" for each attempt of a call, "reply" for each call that has ended.

    A "sent" line is written before the request leaves; a reply is on disk when `append` returns. A call that was under
    way when its process was killed is a "sent" line without a reply.

    Threads and processes may share a file, and each sees what the others have added. Of the replies, memory holds the
    offset in the file alone. A last line that was torn when its writer died is cut off by the next one who writes.

    Attributes:
        path: The file. It and its folder are made when the first line is added.

    Raises:
        InputError: When another line than the last is broken.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._waiting: deque[_Line] = deque()  # what a thread adds without the lock, and whoever has it writes
        self._file: int | None = None
        self._offsets: dict[bytes, int] = {}  # byte offset of the reply to each answered key
        self._spent = Cost()
        self._dearest: dict[str, Cost] = {}  # by model
        self._num_lines = 0
        self._end = 0  # of the last whole line that was read
        if self.path.exists():
            self._open()
            self._catch_up()

    def __len__(self) -> int:
        return len(self._offsets)

    def find(self, key: str) -> Reply | None:
        """Returns the answered reply with this key, or None: failures are worth another try."""
        digest = bytes.fromhex(key)
        offset = self._offsets.get(digest)
        if offset is None and self._is_behind():
            with self._lock:
                self._open()
                self._catch_up()
            offset = self._offsets.get(digest)
        return None if offset is None else self._read(offset)

    def spent(self, model: str) -> tuple[Cost, Cost | None]:
        """Returns what all answers cost, and the most that one of the model's cost; None when there is none."""
        with self._lock:
            if self._is_behind():
                self._open()
                self._catch_up()
            return self._spent, self._dearest.get(model)

    def note_sent(self, key: str, attempt: int) -> None:
        """Adds the line that says that an attempt (from 0) is about to be sent."""
        self._write({"event": "sent", "key": key, "attempt": attempt}, None)

    def append(self, reply: Reply) -> None:
        """Adds the reply; it is on disk when this returns."""
        self._write({"event": "reply"} | {name: getattr(reply, name) for name in _REPLY_FIELDS}, reply)

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _open(self) -> int:
        """Returns the descriptor of the file, which is made where it is not there."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        return self._file

    def _write(self, record: dict[str, Any], reply: Reply | None) -> None:
        """Adds a line, with the reply that it holds.

        Each call to the system lets other threads run first. So a thread writes the lines of all that wait for it: one
        turn for all of them, not five for each.
        """
        line = _Line((json.dumps(record | {"time": round(time.time(), 3)}) + "\n").encode(), reply)
        self._waiting.append(line)
        with self._lock:
            if not line.is_written and line.fault is None:
                lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
                try:
                    self._write_lines(lines)
                except (OSError, InputError) as fault:
                    for each in lines:
                        each.fault = fault
        if line.fault is not None:
            raise line.fault

    def _write_lines(self, lines: list[_Line]) -> None:
        file = self._open()
        self._lock_file(file)
        try:
            # Whoever holds the lock is the only writer, so what is left after the last whole line is torn.
            if self._catch_up() > self._end:
                os.ftruncate(file, self._end)
            text = b"".join(line.text for line in lines)
            with writes_to(self.path):
                num_written = os.write(file, text)
                if num_written < len(text):
                    os.ftruncate(file, self._end)
                    reason = f"{os.strerror(errno.ENOSPC)}, only {num_written} of {len(text)} bytes were written"
                    raise OSError(errno.ENOSPC, reason)
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
        if any(line.reply is not None for line in lines):
            os.fsync(file)
        for line in lines:
            self._take_in(line.reply, len(line.text))
            line.is_written = True

    def _lock_file(self, file: int) -> None:
        """Locks the file against other processes, which hold it for as long as it takes to write a few lines.

        Raises:
            InputError: When another process holds it for long, since it was stopped or its disk does not respond.
        """
        deadline = time.monotonic() + _LONGEST_LOCK_S
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            if time.monotonic() > deadline:
                problem = f"has been locked by another process for {_LONGEST_LOCK_S:g} s"
                raise InputError.at(
                    self.path, f"{problem}; end that one (fuser shows it), and start the same command again."
                )
            time.sleep(_LOOK_AGAIN_S)

    def _read(self, offset: int) -> Reply:
        with self.path.open("rb") as stream:
            stream.seek(offset)
            return _reply(json.loads(stream.readline()))

    def _is_behind(self) -> bool:
        """Returns whether the file has lines that were not read; what a thread is about to write may count as more."""
        return self.path.exists() if self._file is None else os.fstat(self._file).st_size != self._end

    def _catch_up(self) -> int:
        """Takes in the whole lines that others have added since, and returns the size of the file."""
        assert self._file is not None
        size = os.fstat(self._file).st_size
        if size > self._end:
            with self.path.open("rb") as stream:
                stream.seek(self._end)
                for line in stream:
                    if not line.endswith(b"\n"):
                        break
                    self._take_in(self._decode(line), len(line))
        return size

    def _decode(self, line: bytes) -> Reply | None:
        """Returns the reply that a line holds, or None for one of another kind."""
        try:
            record = json.loads(line)
            reply = _reply(record) if record["event"] == "reply" else None
            if reply is not None:
                bytes.fromhex(reply.key)
                Cost().at_least(reply.cost)
            return reply
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            problem = f"is no ledger entry ({error}); restore the file, or move it away to start afresh."
            raise InputError.at(self.path, problem, line=self._num_lines + 1) from error

    def _take_in(self, reply: Reply | None, length: int) -> None:
        """Takes note of the line that follows those read so far."""
        if reply is not None and reply.is_answered:
            self._offsets[bytes.fromhex(reply.key)] = self._end
            self._spent += reply.cost
            dearest = self._dearest.get(reply.model, Cost())
            self._dearest[reply.model] = dearest.at_least(reply.cost)
        self._num_lines += 1
        self._end += length


def _reply(record: dict[str, Any]) -> Reply:
    return Reply(**{name: value for name, value in record.items() if name not in ("event", "time")})
