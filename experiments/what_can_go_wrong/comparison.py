"""The content of a project's files, without what may differ: seconds, and the folder's own path."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

# They hold seconds. Logs and hidden files (locks, remembered hashes) are left out, too.
_LEFT_OUT = ("comparisons.tex", "index.html")
# Fields of a manifest that hold seconds, hashes of files that do, or the state of the source when it was run.
_OF_TIME = ("seconds", "outputs", "git_commit", "sha256")


def contents(root: Path, *others: Path) -> dict[str, str]:
    """Returns the hash of each file of a project that is promised to be the same, by its path below `root`.

    Args:
        root: The folder of the project; its path in a file does not count.
        others: Further folders whose path does not count: the project was copied from there.
    """
    folder_names, hashes = [str(folder).encode() for folder in (root, *others)], {}
    for file in sorted(root.rglob("*")):
        path = file.relative_to(root)
        is_hidden = any(part.startswith(".") for part in path.parts)
        has_seconds = path.suffix == ".log" or path.name in _LEFT_OUT or path.match("report/time_*.png")
        if file.is_file() and not is_hidden and not has_seconds and path.parts[0] != "tmp":
            hashes[str(path)] = hashlib.sha256(_content(file, folder_names)).hexdigest()
    return hashes


def differences(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """Returns what differs between two projects, a text for each file."""
    texts = [f"{name} is missing" for name in expected if name not in found]
    texts += [f"{name} is there in addition" for name in found if name not in expected]
    return texts + [f"{name} differs" for name in expected if found.get(name, expected[name]) != expected[name]]


def _content(file: Path, folder_names: Sequence[bytes]) -> bytes:
    """Returns what is compared of a file: its content without the paths of folders."""
    content = file.read_bytes()
    if file.suffix == ".ckpt":
        with suppress(EOFError, RuntimeError, UnpicklingError):  # one that a case has damaged is compared as it is
            content = _checkpoint(file)
    if file.suffix == ".csv":
        rows = list(csv.DictReader(io.StringIO(content.decode())))
        content = json.dumps([{name: row[name] for name in row if not _is_time(name)} for row in rows]).encode()
    if file.name == "manifest.json":
        with suppress(ValueError):
            values = json.loads(content)
            content = json.dumps({name: value for name, value in values.items() if name not in _OF_TIME}).encode()
    for name in folder_names:
        content = content.replace(name, b"")
    return content


def _is_time(column: str) -> bool:
    return column.startswith("time/") or column.endswith("_hours")


def _checkpoint(file: Path) -> bytes:
    """Returns the values in a checkpoint; how they are pickled depends on which of them are one object."""
    import torch

    return _values(torch.load(file, weights_only=True, map_location="cpu"))


def _values(node: Any) -> bytes:
    import torch

    if isinstance(node, torch.Tensor):
        return f"{node.dtype} {tuple(node.shape)}".encode() + node.reshape(-1).view(torch.uint8).numpy().tobytes()
    if isinstance(node, Mapping):
        return b"".join(repr(key).encode() + _values(node[key]) for key in sorted(node, key=repr))
    if isinstance(node, list | tuple):
        return b"".join(map(_values, node))
    return repr(node).encode()
