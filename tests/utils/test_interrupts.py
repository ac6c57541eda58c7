"""Ctrl-C while a command starts ends it with code 130 and one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from medssr.utils import interrupts

# A module whose import has just ended when Ctrl-C comes: of the command's own, of its settings, of its composition.
MOMENTS = ["medssr.commands", "omegaconf", "hydra.plugins.sweeper"]


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_while_a_command_starts_ends_it_with_one_line(moment, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "medssr.commands.train", "data.path=none.jsonl"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"MEDSSR_ROOT": str(tmp_path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        if line.startswith("import time:"):
            if line.rpartition("|")[2].strip() == moment:
                process.send_signal(signal.SIGINT)
        else:
            lines.append(line)
    assert process.wait(timeout=60) == 130
    assert lines == ["ended by SIGINT\n"]


@pytest.mark.parametrize(
    ("command_line", "is_ours"),
    [
        (["python", "-u", "-m", "medssr.commands.train", "seed=1"], True),
        (["python", "/usr/bin/medssr-doctor"], True),
        (["python", "notebook.py"], False),
        (["python", "-c", "from medssr.commands.train import train"], False),
    ],
)
def test_a_program_that_imports_a_command_keeps_its_own_handling(command_line, is_ours, monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", command_line)
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interrupts.end_at_once()
        is_set = signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        with pytest.raises(SystemExit if is_ours else KeyboardInterrupt), interrupts.ended_by_exception():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert is_set == is_ours
