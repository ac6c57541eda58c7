"""medssr clean: what nothing refers to in the folder of artefacts; `--delete` deletes it."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from medssr.artifacts import lock_file
from medssr.commands.store.arguments import folders_of, parser, run_main, split_words
from medssr.commands.store.listing import when
from medssr.commands.store.records import Catalog, StoredStep, read_catalog, size_text
from medssr.errors import InputError
from medssr.manifests import kept_hashes
from medssr.utils.nearest import did_you_mean
from medssr.utils.outputs import MANIFEST_FILE

DESCRIPTION = """\
Find what nothing refers to in the folder of artefacts. Without --delete nothing is changed.

  unfinished  steps without a manifest that no process works on; the same command could go on from there
  unused      finished artefacts that no run names and that no other artefact was made from. A run names what its log,
              its results and its configuration name. Artefacts that were made from Python have no run and are kept
  hashes      kept hashes of files that are gone

What a process holds the lock of is left alone, and so is what a process on another machine may hold.
"""


class Kind(StrEnum):
    """Why something can be deleted."""

    unfinished = "unfinished"
    unused = "unused"
    hashes = "hashes"


@dataclass(frozen=True, slots=True)
class Garbage:
    """A folder, or a file of a hash, that nothing refers to.

    Attributes:
        kind: Why.
        path: The folder or file.
        lock: The lock that a process which works on it holds.
        num_bytes: What it takes on disk.
        changed: When it was finished or last changed, in seconds since the epoch.
        note: What it is.
    """

    kind: Kind
    path: Path
    lock: Path
    num_bytes: int
    changed: float
    note: str


def main() -> None:
    """Console entry point."""
    run_main(_main)


def _main(arguments: list[str]) -> None:
    flags = parser("clean", DESCRIPTION)
    flags.add_argument("words", nargs="*", metavar="KIND", help="unfinished, unused or hashes; all without one")
    flags.add_argument("--delete", action="store_true", help="delete what is found")
    flags.add_argument("--logs", action="append", default=[], metavar="FOLDER", help="a further folder of runs")
    given = flags.parse_args(arguments)
    names, overrides = split_words(given.words)
    for name in names:
        if name not in list(Kind):
            raise InputError(f"{name}: expected {', '.join(Kind)}.{did_you_mean(name, Kind)}")
    artifact_dir, log_dir = folders_of(overrides)
    log_dirs = [log_dir, *(Path(folder).absolute() for folder in given.logs)]
    for folder in log_dirs[1:]:
        if not folder.is_dir():
            raise InputError(f"--logs: there is no folder {folder}.")
    found = list(garbage(artifact_dir, log_dirs, [Kind(name) for name in names] or list(Kind)))
    kept = 0
    for item in found:
        is_gone = not given.delete or delete(item, artifact_dir)
        kept += not is_gone
        state = "" if is_gone else "  left alone: a process works on it"
        sys.stdout.write(
            f"{item.kind:10}  {size_text(item.num_bytes):>9}  {when(item.changed)}  {item.path}  {item.note}{state}\n"
        )
    total = size_text(sum(item.num_bytes for item in found))
    runs = ", ".join(map(str, log_dirs))
    if not found:
        sys.stdout.write(f"nothing to delete in {artifact_dir}; looked for runs in {runs}\n")
    elif given.delete:
        sys.stdout.write(f"deleted {len(found) - kept} of {len(found)}, {total} in all\n")
    else:
        sys.stdout.write(f"{len(found)}, {total}; looked for runs in {runs}. medssr clean --delete deletes them.\n")


def garbage(artifact_dir: Path, log_dirs: list[Path], kinds: list[Kind]) -> Iterator[Garbage]:
    """Yields what nothing refers to and nobody works on.

    Args:
        artifact_dir: The folder of artefacts.
        log_dirs: The folders of the runs that may refer to artefacts.
        kinds: What to look for.
    """
    catalog = read_catalog(artifact_dir, log_dirs)
    for step in catalog.steps:
        kind = _kind(catalog, step)
        is_inside = step.directory.resolve().is_relative_to(artifact_dir.resolve())  # no link to somewhere else
        if kind in kinds and is_inside and is_free(lock_file(step.directory)):
            assert kind is not None
            command = None if step.artifact is None else step.artifact.manifest["command"]
            yield Garbage(kind, step.directory, lock_file(step.directory), step.num_bytes, step.changed, command or "")
    if Kind.hashes in kinds:
        yield from _stale_hashes(artifact_dir)


def _kind(catalog: Catalog, step: StoredStep) -> Kind | None:
    """Returns why a step can be deleted; None if something refers to it, or its manifest is damaged."""
    if step.state == "unfinished":
        return Kind.unfinished if step.directory.is_dir() else None
    if step.artifact is None or not catalog.runs:  # without any run, the folder of runs is another
        return None
    is_made_by_run = step.artifact.manifest["command"] is not None
    is_referred_to = catalog.runs_with(step.fingerprint) or catalog.users(step.fingerprint)
    return Kind.unused if is_made_by_run and not is_referred_to else None


def _stale_hashes(artifact_dir: Path) -> Iterator[Garbage]:
    for record in sorted(kept_hashes(artifact_dir).folder.glob("*.json")):
        try:
            file = Path(json.loads(record.read_text(encoding="utf-8"))["file"])
        except (ValueError, KeyError, TypeError):
            continue  # it is hashed again when it is needed
        if file.is_absolute() and not file.exists():
            status = record.stat()
            lock = record.with_suffix(".lock")
            yield Garbage(Kind.hashes, record, lock, status.st_size, status.st_mtime, f"of {file}")


def delete(item: Garbage, artifact_dir: Path) -> bool:
    """Deletes something, unless a process works on it by now; returns whether it is gone."""
    path = item.path.resolve()
    assert path.is_relative_to(artifact_dir.resolve())
    assert path != artifact_dir.resolve()
    with _held(item.lock) as is_ours:
        if not is_ours or (item.kind is Kind.unfinished and (path / MANIFEST_FILE).is_file()):  # finished meanwhile
            return False
        if item.kind is Kind.hashes:
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path)
    return True


def is_free(lock: Path) -> bool:
    """Returns whether no process holds a lock, as far as this machine can tell; makes no lock that is not there."""
    if not lock.exists():
        return True
    with _held(lock) as is_ours:
        return is_ours


@contextmanager
def _held(lock: Path) -> Iterator[bool]:
    """Holds a lock in the block, if that needs no waiting and the lock can be opened; yields whether it does."""
    from filelock import FileLock, Timeout

    held = FileLock(lock, timeout=0)
    try:
        is_ours = not _is_of_another_machine(lock)
        if is_ours:
            held.acquire()
    except (Timeout, PermissionError):
        is_ours = False
    try:
        yield is_ours
    finally:
        held.release()


def _is_of_another_machine(lock: Path) -> bool:
    """Returns whether a process of another machine has noted that it holds a lock; whether it lives is not known."""
    note = lock.with_name(f"{lock.name}.holder")
    try:
        return bool(json.loads(note.read_text(encoding="utf-8"))["host"] != socket.gethostname())
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError):
        return True  # being written, or of somebody else


if __name__ == "__main__":
    main()
