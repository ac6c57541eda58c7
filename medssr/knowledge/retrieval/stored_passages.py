"""The passages of a corpus on disk, readable by index, and folders of what was computed from them."""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import shutil
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from medssr.errors import InputError
from medssr.knowledge.corpora import Corpus, Passage
from medssr.utils.disk_faults import writes_to
from medssr.utils.files import hash_file, write_json_atomically
from medssr.utils.locks import hold_lock
from medssr.utils.progress import Progress

log = logging.getLogger(__name__)

PASSAGES_FILE = "passages.jsonl"
_ENDS = "ends.npy"
_NAMES = tuple(field.name for field in fields(Passage))
FIELDS = ("title", "synonyms", "text")


class StoredPassages:
    """Passages in a file that is mapped into memory; only those that are asked for are read.

    Attributes:
        directory: The folder of this corpus, below which indexes of it are kept.
        name: The folder of the passages within that of all corpora; it tells their content.
    """

    def __init__(self, directory: Path, folder: Path) -> None:
        self.directory = directory
        self.name = f"{directory.name}/{folder.name}"
        ends = np.load(folder / _ENDS, mmap_mode="r", allow_pickle=False)
        # [n], where each line ends in bytes; mapped all the same, but a slice of a memmap takes ten times longer.
        self._ends = ends.view(np.ndarray)
        with (folder / PASSAGES_FILE).open("rb") as stream:
            self._lines = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> Passage:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of {len(self)} passages")
        start = int(self._ends[index - 1]) if index else 0
        return _from_line(self._lines[start : int(self._ends[index])])

    def __iter__(self) -> Iterator[Passage]:
        return (self[index] for index in range(len(self)))


def store_passages(corpus: Corpus, index_dir: Path) -> StoredPassages:
    """Returns the corpus's passages, kept in a folder that is named by their content.

    The corpus is read once to learn its content, and a second time where that content is new.

    Args:
        corpus: Where the passages come from.
        index_dir: The folder of all corpora and their indexes.

    Raises:
        InputError: When the corpus has no passage, or changes while it is read.
    """
    content, num_passages = _content(corpus)
    if not num_passages:
        raise InputError("corpus: has no passage; choose another corpus.")
    directory = index_dir / content[:16]
    folder = cached_folder(directory, "passages", {"content": content}, lambda empty: _write(corpus, content, empty))
    return StoredPassages(directory, folder)


def field_text(passage: Passage, field: str) -> str:
    """Returns one of the texts of a passage: "title", "synonyms" (one after the other) or "text".

    Example:
        >>> field_text(Passage("1", "Fabry disease", "...", synonyms=("FD", "GLA deficiency")), "synonyms")
        'FD; GLA deficiency'
    """
    assert field in FIELDS, field
    return "; ".join(passage.synonyms) if field == "synonyms" else str(getattr(passage, field))


def check_fields(names: list[str], where: str) -> tuple[str, ...]:
    """Returns the names of texts of a passage.

    Raises:
        InputError: When there is none, one twice or one that passages do not have; `where` names the configuration.
    """
    if not names or len(set(names)) < len(names) or not set(names) <= set(FIELDS):
        raise InputError(f"{where}: found {names}; expected one or more of {', '.join(FIELDS)}, each once.")
    return tuple(names)


def _content(corpus: Corpus) -> tuple[str, int]:
    """Returns the hash of all passages and how many there are."""
    digest = hashlib.sha256()
    count = 0
    with _reading() as progress:
        for count, passage in enumerate(corpus.passages(), start=1):  # noqa: B007 - the last count is returned
            digest.update(_to_line(passage))
            progress.advance()
    return digest.hexdigest(), count


def _write(corpus: Corpus, content: str, folder: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    ends = array("q")
    with (folder / PASSAGES_FILE).open("wb") as stream, _reading() as progress:
        for passage in corpus.passages():
            line = _to_line(passage)
            digest.update(line)
            stream.write(line)
            ends.append(stream.tell())
            progress.advance()
    if digest.hexdigest() != content:
        raise InputError("corpus: its passages changed while they were read; start again once it is at rest.")
    np.save(folder / _ENDS, np.frombuffer(ends, dtype=np.int64), allow_pickle=False)
    return {"num_passages": len(ends)}


def _reading() -> Progress:
    return Progress("read the corpus", None, "passages", is_minor=True)


def _to_line(passage: Passage) -> bytes:
    # ASCII, because a text may hold half of a surrogate pair, which UTF-8 cannot.
    return (json.dumps({name: getattr(passage, name) for name in _NAMES}) + "\n").encode("ascii")


def _from_line(line: bytes) -> Passage:
    record = json.loads(line)
    return Passage(**record | {"synonyms": tuple(record["synonyms"])})


# --- Folders that are computed once: whole or absent, checked before they are used, safe with two processes at once ---

MANIFEST = "manifest.json"
# Counts up when the layout of a cached folder changes, so that older folders are computed anew.
_FORMAT = 1


def cached_folder(
    parent: Path, kind: str, settings: Mapping[str, Any], build: Callable[[Path], dict[str, Any]]
) -> Path:
    """Returns the folder that `build` fills, from before where it is there and whole.

    The folder's name is a hash of the settings. Its manifest has the hash of every file; a folder with a file that is
    damaged, missing or unexpected is made anew. Files are data that is parsed (NumPy arrays without pickles, JSON).

    Args:
        parent: Where the folder is kept.
        kind: What it is, in a word; the first part of its name.
        settings: All that decides the content, as JSON.
        build: Fills an empty folder and returns what the manifest should say of it beside the files.
    """
    key = hashlib.sha256(json.dumps([_FORMAT, settings], sort_keys=True).encode()).hexdigest()[:16]
    folder = parent / f"{kind}-{key}"
    if _is_whole(folder):
        return folder
    parent.mkdir(parents=True, exist_ok=True)
    with hold_lock(parent / f".{folder.name}.lock", f"the making of {folder}"):
        if _is_whole(folder):  # made by the process that this one waited for
            return folder
        if folder.exists():
            log.warning("%s is damaged; it is made anew", folder)
            shutil.rmtree(folder)
        unfinished = parent / f".{folder.name}.unfinished"
        if unfinished.exists():  # of a killed process, as the lock is ours
            shutil.rmtree(unfinished)
        unfinished.mkdir()
        with writes_to(folder):
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
