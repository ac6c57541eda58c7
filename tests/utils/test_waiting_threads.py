"""Threads that wait for others leave their core to other processes, unless the user has said how they wait."""

from __future__ import annotations

import os
import sys

import pytest

from medssr.utils.entry import run_command


@pytest.mark.parametrize(
    ("given", "count"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)],
)
def test_waiting_threads_sleep_soon_unless_told_otherwise(monkeypatch, capsys, given, count):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that it is as before in the end
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["medssr-compare", "--help"])
    run_command("compare", print)
    assert os.environ.get("GOMP_SPINCOUNT") == count
