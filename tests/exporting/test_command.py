"""medssr-export as a process: what it writes, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from medssr.resources import RESOURCES


@pytest.fixture
def export(tmp_path):
    def run(*overrides: str) -> subprocess.CompletedProcess[str]:
        questions = RESOURCES / "questions" / "human.jsonl"
        paths = ["experiment=tiny_export", f"data.path={questions}", f"paths.root_dir={tmp_path}"]
        return subprocess.run(
            [sys.executable, "-m", "medssr.commands.export", *paths, *overrides],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    return run


@pytest.mark.slow
def test_the_command_writes_both_forms(export, tmp_path):
    done = export()
    assert done.returncode == 0, done.stderr
    folders = {path.name for path in (tmp_path / "artifacts" / "export").glob("*/*")}
    assert {"for_trl", "for_verl"} <= folders


@pytest.mark.slow
def test_the_command_refuses_what_has_no_counterpart(export):
    done = export("settings.recommended.grpo.dynamic_sampling_rounds=2")
    assert done.returncode == 2
    assert "settings.recommended.grpo.dynamic_sampling_rounds" in done.stderr
    assert "Traceback" not in done.stderr
