"""medssr-export as a process: what it writes, and what it refuses."""

from __future__ import annotations

import pytest
from support.commands import run

from medssr.resources import RESOURCES

SETTINGS = ["experiment=tiny_export", f"data.path={RESOURCES / 'questions' / 'human.jsonl'}"]


@pytest.mark.slow
def test_the_command_writes_both_forms(tmp_path):
    run("export", *SETTINGS, folder=tmp_path)
    folders = {path.name for path in (tmp_path / "artifacts" / "export").glob("*/*")}
    assert {"for_trl", "for_verl"} <= folders


@pytest.mark.slow
def test_the_command_refuses_what_has_no_counterpart(tmp_path):
    setting = "settings.recommended.grpo.dynamic_sampling_rounds"
    _, log = run("export", *SETTINGS, f"{setting}=2", folder=tmp_path, code=2)
    assert setting in log
