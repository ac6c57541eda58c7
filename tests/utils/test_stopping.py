"""A signal ends a process wherever it comes, also where Python drops exceptions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import weakref

import pytest

from medssr.utils.stopping import Stopped, _state, catch_signals


class Item:
    """An object that can be referred to weakly."""


def send_signal(_: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    while _state.received is None:  # Python calls the handler between two instructions
        pass


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
