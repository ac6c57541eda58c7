"""Runs a few cases of experiments/what_can_go_wrong, which has the others, and tests how it compares files."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.command_lines import ROOT

FOLDER = ROOT / "experiments" / "what_can_go_wrong"


@pytest.mark.slow
def test_broken_files_damaged_outputs_and_two_writers_end_well(tmp_path):
    """Kills and signals have tests of their own, which are quicker (test_interruption.py, test_kill_anywhere.py)."""
    kinds = "broken_files,damaged_outputs,stores"
    command = [sys.executable, str(FOLDER / "run.py"), str(tmp_path / "cases"), "--quick", "--only", kinds]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row[0]: [int(cell) for cell in row[1:]] for row in _table(done.stdout) if row[1].isdigit()}
    assert rows.keys() == {"broken files", "damaged outputs", "stores", "all"}
    assert rows["all"] == [5, 4, 0, 0, 0, 0, 0]  # survived and answered; nothing else


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("model.safetensors", lambda root: (root / "model.safetensors").write_bytes(b"\x00\x02")),
        ("metrics.csv", lambda root: _write_metrics(root, reward=0.5, seconds=1.0)),
        ("manifest.json", lambda root: _write_manifest(root, num_kept=11, seconds=1.0)),
        ("step_1.ckpt", lambda root: _write_checkpoint(root, weight=1.0000001, path=f"{root}/model")),
        ("more.json", lambda root: (root / "more.json").write_text("{}")),
    ],
)
def test_a_file_with_another_value_is_named(tmp_path, file, change):
    comparison = _comparison()
    one, two = _project(tmp_path / "one", seconds=1.0), _project(tmp_path / "other_place", seconds=2.0)
    expected = comparison.contents(one)
    assert set(expected) == {"model.safetensors", "metrics.csv", "manifest.json", "step_1.ckpt"}
    assert comparison.differences(comparison.contents(two), expected) == []
    change(two)
    (text,) = comparison.differences(comparison.contents(two), expected)
    assert text.startswith(file)


def _comparison():
    spec = importlib.util.spec_from_file_location("comparison", FOLDER / "comparison.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _project(root: Path, seconds: float) -> Path:
    """Files whose values do not depend on the folder or the seconds."""
    root.mkdir()
    (root / "model.safetensors").write_bytes(b"\x00\x01")
    (root / "train.log").write_text(str(seconds))
    _write_metrics(root, reward=0.25, seconds=seconds)
    _write_manifest(root, num_kept=12, seconds=seconds)
    _write_checkpoint(root, weight=1.0, path=f"{root}/model")
    return root


def _write_metrics(root: Path, reward: float, seconds: float) -> None:
    (root / "metrics.csv").write_text(f"train/reward,time/step\n{reward},{seconds}\n")


def _write_manifest(root: Path, num_kept: int, seconds: float) -> None:
    (root / "manifest.json").write_text(json.dumps({"counts": {"num_kept": num_kept}, "seconds": seconds}))


def _write_checkpoint(root: Path, weight: float, path: str) -> None:
    torch.save({"state_dict": {"weight": torch.tensor([weight])}, "path": path}, root / "step_1.ckpt")


def _table(output: str) -> list[list[str]]:
    """The cells of the table that the script prints."""
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in re.findall(r"^\|.*\|$", output, re.M)]
