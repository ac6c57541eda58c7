from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from medssr.utils import locks
from medssr.utils.locks import hold_lock

LIMIT_S = 60


def hold_until(file: Path, is_held: Any, may_end: Any) -> None:
    with hold_lock(file, "the work"):
        is_held.set()
        may_end.wait(LIMIT_S)


def wait_for(file: Path, messages: Any) -> None:
    class Tell(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.put(record.getMessage())

    locks.log.addHandler(Tell())
    locks.log.setLevel(logging.INFO)
    locks._TELL_AGAIN_S = 0.1
    with hold_lock(file, "the work"):
        messages.put("held")


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock, until the event is set or it is killed."""
    context = multiprocessing.get_context("fork")
    is_held, may_end = context.Event(), context.Event()
    process = context.Process(target=hold_until, args=(tmp_path / "lock", is_held, may_end))
    process.start()
    assert is_held.wait(LIMIT_S)
    yield process, may_end
    process.kill()
    process.join(LIMIT_S)


@pytest.mark.slow
def test_who_waits_says_at_once_and_again_who_holds_the_lock(tmp_path, holder):
    process, may_end = holder
    context = multiprocessing.get_context("fork")
    messages = context.Queue()
    second = context.Process(target=wait_for, args=(tmp_path / "lock", messages))
    second.start()
    heard = [messages.get(timeout=LIMIT_S) for _ in range(2)]
    for message in heard:
        assert f"waiting for the work by process {process.pid} on {socket.gethostname()}" in message
        assert str(tmp_path / "lock") in message
    may_end.set()
    while (message := messages.get(timeout=LIMIT_S)) != "held":
        assert message.startswith("waiting for")
    second.join(LIMIT_S)
    assert second.exitcode == 0


def test_the_lock_of_a_killed_process_is_free(tmp_path, holder, caplog):
    process, _ = holder
    os.kill(process.pid, signal.SIGKILL)
    process.join(LIMIT_S)
    note = tmp_path / "lock.holder"
    assert json.loads(note.read_text())["pid"] == process.pid  # it could not take its note away
    with caplog.at_level(logging.INFO), hold_lock(tmp_path / "lock", "the work"):
        assert json.loads(note.read_text()) == {"host": socket.gethostname(), "pid": os.getpid()}
    assert not caplog.records
    assert not note.exists()


@pytest.mark.slow
def test_a_holder_that_has_died_and_left_the_lock_to_a_child_is_told(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=int)
    process.start()
    process.join(LIMIT_S)
    note = tmp_path / "lock.holder"
    note.write_text(json.dumps({"host": socket.gethostname(), "pid": process.pid}))
    assert "which has died, or a process that it started" in locks._holder(note)
    for damaged in ("", "[]", '{"host": "a"}'):
        note.write_text(damaged)
        assert locks._holder(note) == "another process"
