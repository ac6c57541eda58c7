"""What is said of a full disk: the folder, and the setting that moves it."""

from __future__ import annotations

import errno

import pytest
from support.helpers import compose
from support.small_disks import fill, small_disk

from medssr.cli.disk_messages import UsedFolder, disk_message, folders_in_use, path_fault

FULL = OSError(errno.ENOSPC, "No space left on device")


def named(path: str) -> OSError:
    return OSError(errno.ENOSPC, "No space left on device", path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "choice"),
    [
        ("/x/artifacts/train/0/model", "paths.artifact_dir=FOLDER"),
        ("/x/artifacts/indexes/0/texts", "paths.index_dir=FOLDER"),
        ("/x/artifacts/ledgers/openai.jsonl", "generator.ledger_dir=FOLDER"),
        ("/x/logs/train/runs/0/train.log", "paths.log_dir=FOLDER"),
        ("/temporary/trace.txt", "the variable TMPDIR"),
        ("/x/else", "paths.root_dir=FOLDER"),
    ],
)
def test_the_nearest_setting_is_named(file, choice, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/temporary")
    folders = folders_in_use(compose("synthesize", "paths.root_dir=/x", "generator=openai", "generator.model=tiny"))
    message = disk_message(named(file), folders)
    assert message.startswith(f"{file}: No space left on device. Make room or choose a folder that can be written")
    assert choice in message.removesuffix("paths.root_dir=FOLDER (or the variable MEDSSR_ROOT)")


def test_where_no_file_is_named_it_is_the_folder_with_the_least_room(tmp_path):
    with small_disk(tmp_path / "disk", "64k") as disk:
        fill(disk)
        folders = [UsedFolder(tmp_path, "a=FOLDER"), UsedFolder(disk / "not" / "there", "b=FOLDER")]
        message = disk_message(FULL, folders)
    assert message.startswith(f"{disk}/not/there: No space left on device (no file is named; of the folders in use")
    assert "0.0 MiB" in message
    assert "written by b=FOLDER" in message


def test_a_read_only_disk_without_a_name_is_found(tmp_path):
    with small_disk(tmp_path / "disk", "64k") as disk:
        folders = [UsedFolder(disk, "a=FOLDER")]
        message = disk_message(OSError(errno.EROFS, "Read-only file system"), folders)
    assert message.startswith("Read-only file system: the system does not say which file. Make room")


def test_a_bug_has_no_message():
    assert path_fault(ValueError("a bug")) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x" * 300, "a_file/below", "not_there"])
def test_a_folder_that_cannot_be_looked_at_is_no_fault_of_its_own(tmp_path, name):
    """The message about one wrong folder must not end in an error about another."""
    (tmp_path / "a_file").touch()
    folders = folders_in_use(compose("synthesize", f"paths.artifact_dir={tmp_path}/{name}"))
    assert UsedFolder(tmp_path / name, "paths.artifact_dir=FOLDER") in folders
    assert disk_message(FULL, folders).count("No space left on device") == 1
