"""Folders that are computed once: whole or absent, checked before they are used, safe with two processes at once."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from medssr.utils.files import hash_file, write_json_atomically

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
# Counts up when the layout of a cached folder changes, so that older folders are not found any more.
_FORMAT = 1


def cached_folder(
    parent: Path, kind: str, settings: Mapping[str, Any], build: Callable[[Path], dict[str, Any]]
) -> Path:
    """Returns the folder that `build` fills, from before where it is there and whole.

    The folder's name is a hash of the settings. Its manifest has the hash of every file; a folder with a file that is
    damaged, missing or not its own is made anew. Files are data that is parsed (NumPy arrays without pickles, JSON).

    Args:
        parent: Where the folder is kept.
        kind: What it is, in a word; the first part of its name.
        settings: All that decides the content, as JSON.
        build: Fills an empty folder and returns what the manifest should say of it beside the files.
    """
    from filelock import FileLock

    key = hashlib.sha256(json.dumps([_FORMAT, settings], sort_keys=True).encode()).hexdigest()[:16]
    folder = parent / f"{kind}-{key}"
    if _is_whole(folder):
        return folder
    parent.mkdir(parents=True, exist_ok=True)
    with FileLock(parent / f".{folder.name}.lock"):
        if _is_whole(folder):  # made by the process that this one waited for
            return folder
        if folder.exists():
            log.warning("%s is damaged; it is made anew", folder)
            shutil.rmtree(folder)
        unfinished = parent / f".{folder.name}.unfinished"
        if unfinished.exists():  # of a killed process, as the lock is ours
            shutil.rmtree(unfinished)
        unfinished.mkdir()
        facts = build(unfinished)
        files = {file.name: hash_file(file) for file in sorted(unfinished.iterdir())}
        write_json_atomically(unfinished / MANIFEST, {"settings": dict(settings), "facts": facts, "files": files})
        unfinished.rename(folder)
    return folder


def read_facts(folder: Path) -> dict[str, Any]:
    """Returns what `build` said of a cached folder."""
    facts: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["facts"]
    return facts


def _is_whole(folder: Path) -> bool:
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        names = {file.name for file in folder.iterdir()} - {MANIFEST}
        return names == files.keys() and all(hash_file(folder / name) == files[name] for name in names)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False  # absent, or no manifest of ours
