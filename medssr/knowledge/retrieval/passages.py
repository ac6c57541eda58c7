"""The passages of a corpus on disk, readable by place, so that a corpus need not fit into memory."""

from __future__ import annotations

import hashlib
import json
import mmap
from array import array
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from medssr.errors import InputError
from medssr.knowledge.corpora import Corpus, Passage
from medssr.knowledge.retrieval.cache import cached_folder

_TEXTS = "passages.jsonl"
_ENDS = "ends.npy"
_NAMES = tuple(field.name for field in fields(Passage))
FIELDS = ("title", "synonyms", "text")


class StoredPassages:
    """Passages in a file that is mapped into memory; only those that are asked for are read.

    Attributes:
        directory: The folder of this corpus, below which indexes of it are kept.
    """

    def __init__(self, directory: Path, folder: Path) -> None:
        self.directory = directory
        ends = np.load(folder / _ENDS, mmap_mode="r", allow_pickle=False)
        # [n], where each line ends in bytes; mapped all the same, but a slice of a memmap takes ten times longer.
        self._ends = ends.view(np.ndarray)
        with (folder / _TEXTS).open("rb") as stream:
            self._lines = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, place: int) -> Passage:
        if not 0 <= place < len(self):
            raise IndexError(f"place {place} of {len(self)} passages")
        start = int(self._ends[place - 1]) if place else 0
        return _from_line(self._lines[start : int(self._ends[place])])

    def __iter__(self) -> Iterator[Passage]:
        return (self[place] for place in range(len(self)))


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
    for count, passage in enumerate(corpus.passages(), start=1):  # noqa: B007 - the last count is returned
        digest.update(_to_line(passage))
    return digest.hexdigest(), count


def _write(corpus: Corpus, content: str, folder: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    ends = array("q")
    with (folder / _TEXTS).open("wb") as stream:
        for passage in corpus.passages():
            line = _to_line(passage)
            digest.update(line)
            stream.write(line)
            ends.append(stream.tell())
    if digest.hexdigest() != content:
        raise InputError("corpus: its passages changed while they were read; start again once it is at rest.")
    np.save(folder / _ENDS, np.frombuffer(ends, dtype=np.int64), allow_pickle=False)
    return {"num_passages": len(ends)}


def _to_line(passage: Passage) -> bytes:
    # ASCII, because a text may hold half of a surrogate pair, which UTF-8 cannot.
    return (json.dumps({name: getattr(passage, name) for name in _NAMES}) + "\n").encode("ascii")


def _from_line(line: bytes) -> Passage:
    record = json.loads(line)
    return Passage(**record | {"synonyms": tuple(record["synonyms"])})
