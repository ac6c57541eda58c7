"""A signal ends a process wherever it comes, also where Python drops exceptions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import weakref
from pathlib import Path

import pytest

from medssr.utils.stopping import _REPEAT_S, SIGNALS, Arrivals, Stopped, _state, catch_signals


class Item:
    """An object that can be referred to weakly."""


def send_signal(_: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    while _state.received is None:  # Python calls the handler between two instructions
        pass


@pytest.mark.slow
@pytest.mark.parametrize("has_finaliser", [True, False], ids=["finaliser", "weak reference"])
def test_a_signal_within_a_finaliser_ends_the_process_after_it(has_finaliser, capsys):
    finaliser = type("Finalised", (Item,), {"__del__": send_signal}) if has_finaliser else Item
    item = finaliser()
    reference = None if has_finaliser else weakref.ref(item, send_signal)
    was_waiting = False
    with pytest.raises(Stopped), catch_signals():
        del item
        was_waiting = True
        threading.Event().wait(60)
        pytest.fail(f"the signal was lost ({reference})")
    assert was_waiting
    assert capsys.readouterr().err == ""


SLEEP = "print('begun', flush=True)\ntime.sleep(600)"
BLOCKED = {
    # In a library that does not come back to Python, as a collective call whose partner is gone.
    "library": """
import ctypes
mutex = ctypes.create_string_buffer(64)
lock = ctypes.CDLL(None).pthread_mutex_lock
lock(mutex)
print("begun", flush=True)
lock(mutex)  # waits for the end of the first lock, and for no signal
""",
    "critical section": """
stopping.hold()
stopping.lift_deadline()
print("begun", flush=True)
while True:
    time.sleep(0.01)
""",
    "library that drops exceptions": """
while True:
    try:
        print("begun", flush=True)
        time.sleep(600)
    except BaseException:
        pass
""",
}


def start(code: str, **options) -> subprocess.Popen[str]:
    """Starts a program that catches signals, and waits until it does."""
    lines = ["import time", "from medssr.utils import stopping", "with stopping.catch_signals():"]
    lines += [textwrap.indent(code, "    ")]
    process = subprocess.Popen([sys.executable, "-c", "\n".join(lines)], stdout=subprocess.PIPE, text=True, **options)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
        assert process.poll() is None
    return process


@pytest.mark.slow
@pytest.mark.parametrize("where", BLOCKED)
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_second_signal_ends_the_process_wherever_it_waits(where, second):
    process = start(BLOCKED[where])
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=3 * _REPEAT_S)  # what comes sooner may be the same request once more
    process.send_signal(second)
    assert process.wait(timeout=60) in (-second, 128 + second)


def test_a_signal_that_is_repeated_at_once_is_one_but_for_ctrl_c():
    arrivals = Arrivals()
    assert not arrivals.is_second(signal.SIGHUP, has_launcher=False)
    assert not arrivals.is_second(signal.SIGHUP, has_launcher=False)
    assert not arrivals.is_second(signal.SIGINT, has_launcher=False)
    arrivals.first_at -= _REPEAT_S
    assert arrivals.is_second(signal.SIGUSR1, has_launcher=False)
    for has_launcher in (False, True):
        by_hand = Arrivals()
        assert not by_hand.is_second(signal.SIGINT, has_launcher)
        assert by_hand.is_second(signal.SIGINT, has_launcher) == (not has_launcher)


@pytest.mark.slow
@pytest.mark.parametrize("signum", SIGNALS)
def test_each_signal_ends_the_process_with_its_exit_code(signum):
    process = start(SLEEP)
    process.send_signal(signum)
    assert process.wait(timeout=60) == 128 + signum


@pytest.mark.slow
def test_a_hangup_is_ignored_after_nohup():
    process = start(SLEEP, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(timeout=60) == 128 + signal.SIGUSR1


def test_a_forked_process_does_not_take_signals_for_the_one_that_it_comes_from():
    code = """
import os, signal
print("begun", flush=True)
source, sink = os.pipe()
child = os.fork()
if child == 0:
    os.write(sink, b"!")
    time.sleep(600)
os.read(source, 1)
for _ in range(2):
    os.kill(child, signal.SIGINT)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) in (-signal.SIGINT, 130)
print("alive", flush=True)
time.sleep(600)
"""
    process = start(code)
    assert process.stdout is not None
    assert process.stdout.readline() == "alive\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143


def test_what_else_a_finaliser_raises_is_printed():
    code = """
from medssr.utils.stopping import catch_signals
class Faulty:
    def __del__(self):
        raise ValueError("a fault")
with catch_signals():
    Faulty()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ValueError: a fault" in done.stderr
