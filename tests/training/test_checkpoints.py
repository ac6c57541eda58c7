"""Checkpoints on disk: which one training resumes from, and what happens if writing fails."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import torch

from medssr.config.roots import AUTO, LAST
from medssr.errors import InputError
from medssr.training.checkpoints import checkpoint_folder, checkpoint_path, starting_point, write_checkpoint
from medssr.utils import content_hashes
from medssr.utils.files import hash_file


def save(directory, num_done, size=1000):
    path = checkpoint_path(checkpoint_folder(directory), num_done)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(path, partial(torch.save, {"weights": torch.arange(size), "num_done": num_done}))
    return path


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit_in_the_middle(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def replace_by_text(path):
    path.write_text("not a checkpoint")


DAMAGES = [truncate, flip_a_bit_in_the_middle, empty, replace_by_text]


def test_the_newest_two_stay(tmp_path):
    paths = [save(tmp_path, num_done) for num_done in (9, 10, 11)]
    assert [path.exists() for path in paths] == [False, True, True]
    assert starting_point(AUTO, tmp_path) == starting_point(LAST, tmp_path) == paths[-1]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_checkpoint_is_logged_and_the_one_before_it_used(tmp_path, caplog, damage):
    older, newest = save(tmp_path, 1), save(tmp_path, 2)
    damage(newest)
    with caplog.at_level(logging.WARNING):
        assert starting_point(AUTO, tmp_path) == older
    (record,) = caplog.records
    assert str(newest) in record.getMessage()
    assert older.name in record.getMessage()


@pytest.mark.parametrize("ckpt_path", [AUTO, LAST])
def test_where_all_are_damaged_each_is_named_and_nothing_starts_afresh(tmp_path, ckpt_path):
    paths = [save(tmp_path, 1), save(tmp_path, 2)]
    for path in paths:
        truncate(path)
    with pytest.raises(InputError, match="force=true") as error:
        starting_point(ckpt_path, tmp_path)
    assert all(str(path) in str(error.value) for path in paths)


def test_an_incomplete_checkpoint_of_a_killed_process_is_ignored_and_removed(tmp_path):
    path = save(tmp_path, 1)
    incomplete = path.with_name("step_0000002.tmp")
    incomplete.write_bytes(path.read_bytes()[:50])
    assert starting_point(AUTO, tmp_path) == path
    save(tmp_path, 3)
    assert not incomplete.exists()


def test_a_failed_write_leaves_the_checkpoint_before_it(tmp_path):
    def fails(temporary):
        temporary.write_bytes(b"half")
        raise OSError("no space")

    path = save(tmp_path, 1)
    with pytest.raises(OSError, match="no space"):
        write_checkpoint(path.with_name("step_0000002.ckpt"), fails)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_folder_is_a_checkpoint_of_a_sharded_strategy(tmp_path):
    def write_shards(temporary):
        temporary.mkdir()
        (temporary / "shard_0").write_bytes(b"0")

    for num_done in (1, 2, 3):
        path = checkpoint_path(checkpoint_folder(tmp_path), num_done)
        path.parent.mkdir(exist_ok=True)
        write_checkpoint(path, write_shards)
    assert [file.name for file in sorted(path.parent.iterdir())] == ["step_0000002.ckpt", "step_0000003.ckpt"]
    assert starting_point(AUTO, tmp_path) == starting_point(str(path), tmp_path / "other") == path


@pytest.mark.parametrize("damage", [truncate, empty, flip_a_bit_in_the_middle, Path.unlink])
def test_a_folder_with_a_changed_or_missing_file_is_damaged(tmp_path, caplog, damage):
    def write_shards(temporary):
        temporary.mkdir()
        (temporary / "shard_0").write_bytes(b"0" * 200)

    paths = [checkpoint_path(checkpoint_folder(tmp_path), num_done) for num_done in (1, 2)]
    paths[0].parent.mkdir()
    for path in paths:
        write_checkpoint(path, write_shards)
    damage(paths[1] / "shard_0")
    with caplog.at_level(logging.WARNING):
        assert starting_point(AUTO, tmp_path) == paths[0]
    assert "shard_0" in caplog.text
    damage(paths[0] / "sha256.json")
    with pytest.raises(InputError, match="No valid checkpoint"):
        starting_point(AUTO, tmp_path)


def test_processes_that_resume_together_read_a_sharded_checkpoint_once(tmp_path, monkeypatch):
    def write_shards(temporary):
        temporary.mkdir()
        for number in range(2):
            (temporary / f"shard_{number}").write_bytes(bytes([number]) * 2**20)

    directory = tmp_path / "train" / "fingerprint"
    path = checkpoint_path(checkpoint_folder(directory), 1)
    path.parent.mkdir(parents=True)
    write_checkpoint(path, write_shards)
    read = []
    monkeypatch.setattr(content_hashes, "hash_file", lambda file: read.append(file.name) or hash_file(file))
    with ThreadPoolExecutor(4) as processes:
        found = list(processes.map(lambda _: starting_point(AUTO, directory), range(4)))
    assert found == [path] * 4
    assert sorted(read) == ["shard_0", "shard_1"]
    flip_a_bit_in_the_middle(path / "shard_1")
    with pytest.raises(InputError, match="content of shard_1"):
        starting_point(AUTO, directory)


def test_without_checkpoints_auto_starts_afresh_and_last_says_so(tmp_path):
    assert starting_point(AUTO, tmp_path) is None
    with pytest.raises(InputError, match="ckpt_path=auto"):
        starting_point(LAST, tmp_path)


def test_a_path_is_a_checkpoint_or_a_folder_of_them(tmp_path):
    save(tmp_path, 1)
    path = save(tmp_path, 2)
    assert starting_point(str(path), tmp_path / "new") == path
    assert starting_point(str(path.parent), tmp_path / "new") == path


def test_checkpoints_of_the_artefact_come_before_a_path(tmp_path):
    """So the same command, started again after an interruption, resumes its own run."""
    given, local = save(tmp_path / "old", 5), save(tmp_path / "new", 7)
    assert starting_point(str(given), tmp_path / "new") == local


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_path_is_refused(tmp_path, damage):
    path = save(tmp_path, 1)
    damage(path)
    with pytest.raises(InputError, match=r"step_0000001\.ckpt is "):
        starting_point(str(path), tmp_path / "new")


def test_a_path_to_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is nothing at"):
        starting_point(str(tmp_path / "absent.ckpt"), tmp_path)
    with pytest.raises(InputError, match="holds no checkpoint"):
        starting_point(str(tmp_path), tmp_path)
