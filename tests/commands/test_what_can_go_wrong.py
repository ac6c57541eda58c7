"""Runs a few cases of experiments/what_can_go_wrong, which has the others."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from support.command_lines import ROOT

SCRIPT = ROOT / "experiments" / "what_can_go_wrong" / "run.py"


@pytest.mark.slow
def test_an_interrupted_pipeline_broken_files_and_two_writers_end_well(tmp_path):
    kinds = "kills,signals,broken_files,stores"
    command = [sys.executable, str(SCRIPT), str(tmp_path / "cases"), "--quick", "--only", kinds]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row[0]: [int(cell) for cell in row[1:]] for row in _table(done.stdout) if row[1].isdigit()}
    assert rows.keys() == {"kills", "signals", "broken files", "stores", "all"}
    assert rows["all"] == [6, 1, 0, 0, 0, 0, 0]  # survived and answered; nothing else


def _table(output: str) -> list[list[str]]:
    """The cells of the table that the script prints."""
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in re.findall(r"^\|.*\|$", output, re.M)]
