"""Locks between processes; who waits for one says whose it is."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

# Seconds between messages of a process that waits.
_TELL_AGAIN_S = 60.0


@contextmanager
def hold_lock(file: Path, what: str) -> Iterator[None]:
    """Holds a lock in the block; a process that has to wait for it says so at once and every minute.

    The system frees the lock when its process ends, however it ends. While it is held, `<file>.holder` names host and
    process; what a killed process leaves there is replaced by the next holder.

    Args:
        file: The lock's file, whose folder exists.
        what: What the holder does, for the message, such as "the making of artifacts/train/0123".
    """
    from filelock import FileLock, Timeout

    lock, note = FileLock(file), file.with_name(f"{file.name}.holder")
    start, timeout = time.monotonic(), 0.0
    while True:
        try:
            lock.acquire(timeout=timeout)
            break
        except Timeout:
            waited = time.monotonic() - start
            log.info("waiting for %s by %s (%.0f s so far; lock %s)", what, _holder(note), waited, file)
            timeout = _TELL_AGAIN_S
    try:
        note.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}), encoding="utf-8")
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def is_alive(host: str, pid: int) -> bool:
    """Returns whether a process is there, as far as this machine can tell."""
    if host != socket.gethostname():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return True


def _holder(note: Path) -> str:
    try:
        holder = json.loads(note.read_text(encoding="utf-8"))
        host, pid = str(holder["host"]), int(holder["pid"])
    except (OSError, ValueError, KeyError, TypeError):  # not written yet
        return "another process"
    if is_alive(host, pid):
        return f"process {pid} on {host}"
    return f"process {pid} on {host}, which has died, or a process that it started and that goes on"
