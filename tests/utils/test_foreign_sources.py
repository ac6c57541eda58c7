"""What a `_target_` outside medssr stands for: the source of its class, found without an import."""

from __future__ import annotations

import sys

import pytest

from medssr.utils.foreign_sources import foreign_sources


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder on Python's path with a module, a package that exports a class, and a folder without __init__."""
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("lone_module.py", "lab/__init__.py", "lab/rewards.py", "lab/deep/inner.py", "plain/rewards.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("raise RuntimeError('imported')\n")
    return tmp_path


def source(target):
    return foreign_sources({"reward": {"mine": {"_target_": target}}}).get("reward.mine._target_")


@pytest.mark.parametrize(
    ("target", "file"),
    [
        ("lone_module.Mine", "lone_module.py"),
        ("lone_module.Mine.make", "lone_module.py"),
        ("lab.rewards.Mine", "lab/rewards.py"),
        ("lab.deep.inner.Mine", "lab/deep/inner.py"),
        ("plain.rewards.Mine", "plain/rewards.py"),
        ("lab.Mine", "lab/__init__.py"),
        ("lab.Mine", "lab/rewards.py"),  # which the package may export
        ("lab.Mine", "lab/deep/inner.py"),
    ],
)
def test_a_change_of_its_file_changes_the_hash(folder, target, file):
    before = source(target)
    (folder / "other.py").write_text("")
    assert source(target) == before is not None
    (folder / file).write_text("changed")
    assert source(target) != before


def test_nothing_is_imported(folder):
    for target in ("lone_module.Mine", "lab.rewards.Mine", "plain.rewards.Mine"):
        assert source(target) is not None
    assert not {"lone_module", "lab", "plain"} & sys.modules.keys()


@pytest.mark.parametrize(
    "target",
    ["medssr.rewards.label_match.LabelMatch", "torch.optim.AdamW", "no_such_module.Mine", "builtins.dict", "", "a..b"],
)
def test_what_the_manifest_records_by_version_or_is_not_there_has_no_source(target):
    assert source(target) is None


def test_targets_are_found_at_any_depth(folder):
    node = {"_target_": "lone_module.Mine"}
    sources = foreign_sources({"retriever": {"parts": [node, {"inner": node}]}, "grpo": {"loss": node}, "model": None})
    assert sources.keys() == {"retriever.parts.0._target_", "retriever.parts.1.inner._target_", "grpo.loss._target_"}
