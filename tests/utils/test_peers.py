"""The line between processes: a signal to one reaches all, and all learn that one is gone."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import json, signal, sys, threading, time
from pathlib import Path
from medssr.utils import peers, stopping

rank, folder = int(sys.argv[1]), Path(sys.argv[2])

def share(value):
    if rank == 0:
        (folder / "unfinished").write_text(json.dumps(value))
        (folder / "unfinished").rename(folder / "shared")
    while not (folder / "shared").is_file():
        time.sleep(0.01)
    return [json.loads((folder / "shared").read_text())]

with stopping.catch_signals():
    peers.join(rank, 3, share)
    peers.announce("the line", "is open")
    print(rank, "the line" if rank == 0 else peers.wait_for("the line", "is open"), flush=True)
    order = sys.stdin.read(1)
    if order == "q":
        peers.leave(0)
        sys.exit()
    if order == "b":  # as in a call that does not return: the main thread hears no signal
        peers.GRACE_S = 0.1
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        print("blocked", flush=True)
    threading.Event().wait(60)
"""


@pytest.fixture
def processes(tmp_path):
    """Three processes that have opened the line and wait."""
    pipe = subprocess.PIPE
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(rank), str(tmp_path)], stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        for rank in range(3)
    ]
    assert [process.stdout.readline() for process in started] == ["0 the line\n", "1 is open\n", "2 is open\n"]
    yield started
    for process in started:
        process.kill()
        process.communicate()


def codes(processes):
    return [process.wait(60) for process in processes]


@pytest.mark.slow
def test_a_signal_to_one_ends_all(processes):
    processes[1].terminate()
    assert codes(processes) == [143, 143, 143]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 2])
def test_if_one_is_killed_the_others_end(processes, rank):
    processes[rank].kill()
    assert codes(processes) == [-signal.SIGKILL if each == rank else 1 for each in range(3)]


def test_who_says_farewell_is_not_missed(processes):
    processes[2].communicate("q")
    assert processes[2].returncode == 0
    processes[0].terminate()
    assert codes(processes[:2]) == [143, 143]


@pytest.mark.slow
def test_a_process_that_waits_in_a_call_for_ever_is_ended_by_force(processes):
    processes[0].stdin.write("b")
    processes[0].stdin.close()
    processes[0].stdin = None
    assert processes[0].stdout.readline() == "blocked\n"
    processes[1].kill()
    assert codes(processes) == [1, -signal.SIGKILL, 1]
    assert "The process of rank 1 is gone" in processes[0].stderr.read()
