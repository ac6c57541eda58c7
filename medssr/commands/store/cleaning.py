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
from uuid import uuid4

from medssr.artifacts import lock_file
from medssr.commands.store.arguments import folders_of, parser, run_main, split_words
from medssr.commands.store.listing import when
from medssr.commands.store.records import (
    Catalog,
    StoredStep,
    folder_bytes,
    read_catalog,
    runs_below,
    size_text,
)
from medssr.errors import InputError
from medssr.manifests import kept_hashes
from medssr.utils.nearest import did_you_mean
from medssr.utils.outputs import MANIFEST_FILE, files_made

DESCRIPTION = """\
Find what nothing refers to in the folder of artefacts. Without --delete nothing is changed.

  unfinished  steps without a manifest that no process works on; the same command could go on from there. Those that
              a run names are found only if `unfinished` is given: their jobs may wait in a queue
  unused      finished artefacts that no run names and that no other artefact was made from. A run names what its log,
              its results and its configuration name. Artefacts that were made from Python, or by an older version,
              and those that people have put files into, are kept
  hashes      kept hashes of files that are gone

What a process holds the lock of is left alone, and so is what a process on another machine may hold.
"""
# Steps whose artefacts experts fill in.
_FILLED_IN = ("audit",)
# Ends the hidden name of what is being deleted.
_DELETED = ".deleted"


class Kind(StrEnum):
    """Why something can be deleted."""

    unfinished = "unfinished"
    unused = "unused"
    hashes = "hashes"


@dataclass(frozen=True, slots=True)
class Search:
    """Where and what to look for.

    Attributes:
        artifact_dir: The folder of artefacts.
        log_dirs: The folders of the runs that may refer to artefacts.
        named: The kinds that the command line names; all if it names none.
    """

    artifact_dir: Path
    log_dirs: list[Path]
    named: tuple[Kind, ...] = ()

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds to look for."""
        return self.named or tuple(Kind)


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
    given = flags.parse_intermixed_args(arguments)
    names, overrides = split_words(given.words)
    for name in names:
        if name not in list(Kind):
            raise InputError(f"{name}: expected {', '.join(Kind)}.{did_you_mean(name, Kind)}")
    artifact_dir, log_dir = folders_of(overrides)
    further = [Path(folder).absolute() for folder in given.logs]
    for folder in further:
        if not folder.is_dir():
            raise InputError(f"--logs: there is no folder {folder}.")
        if next(runs_below(folder), None) is None:
            raise InputError(f"--logs: no run is in {folder}; a run has a folder .hydra.")
    search = Search(artifact_dir, [log_dir, *further], tuple(Kind(name) for name in names))
    items = list(garbage(search))
    gone = []
    for item in items:
        problem = delete(item, search) if given.delete else None
        if problem is None:
            gone.append(item)
        state = "" if problem is None else f"  left alone: {problem}"
        sys.stdout.write(
            f"{item.kind:10}  {size_text(item.num_bytes):>9}  {when(item.changed)}  {item.path}  {item.note}{state}\n"
        )
    total = size_text(sum(item.num_bytes for item in gone))
    runs = ", ".join(map(str, search.log_dirs))
    if not items:
        sys.stdout.write(f"nothing to delete in {artifact_dir}; looked for runs in {runs}\n")
    elif given.delete:
        sys.stdout.write(f"deleted {len(gone)} of {len(items)}, {total} in all\n")
    else:
        sys.stdout.write(f"{len(items)}, {total}; looked for runs in {runs}. medssr clean --delete deletes them.\n")


def garbage(search: Search) -> Iterator[Garbage]:
    """Yields what nothing refers to and nobody works on."""
    catalog = read_catalog(search.artifact_dir, search.log_dirs)
    targets = {step.directory.resolve() for step in catalog.steps if _is_linked(step.directory)}
    for step in catalog.steps:
        if _is_linked(step.directory) or step.directory.resolve() in targets:
            continue
        kind, lock = _kind(catalog, step, search), lock_file(step.directory)
        if kind is not None and is_free(lock):
            yield Garbage(kind, step.directory, lock, step.num_bytes, step.changed, step.command or "")
    if Kind.unfinished in search.kinds:
        yield from _half_deleted(search.artifact_dir)
    if Kind.hashes in search.kinds:
        yield from _stale_hashes(search.artifact_dir)


def _is_linked(directory: Path) -> bool:
    """Returns whether the folder of a step, or that of all steps of its name, is a link."""
    return directory.is_symlink() or directory.parent.is_symlink()


def _kind(catalog: Catalog, step: StoredStep, search: Search) -> Kind | None:
    """Returns why a step can be deleted; None if something refers to it, its manifest is damaged or it is not asked."""
    runs = catalog.runs_with(step.fingerprint)
    if step.state == "unfinished" and Kind.unfinished in search.kinds:
        is_forgotten = bool(catalog.runs) and not runs
        return Kind.unfinished if is_forgotten or Kind.unfinished in search.named else None
    # Without any run, the folder of runs is another.
    if step.artifact is None or not catalog.runs or Kind.unused not in search.kinds:
        return None
    is_made_by_run = step.artifact.manifest.get("from_python") is False  # an older version does not say
    is_kept = runs or catalog.users(step.fingerprint) or _is_filled_in(step)
    return Kind.unused if is_made_by_run and not is_kept else None


def _is_filled_in(step: StoredStep) -> bool:
    """Returns whether people may have put something into a finished artefact."""
    assert step.artifact is not None
    made = {MANIFEST_FILE, *step.artifact.manifest.get("outputs", ())}
    return step.step in _FILLED_IN or not set(files_made(step.directory)) <= made


def _half_deleted(artifact_dir: Path) -> Iterator[Garbage]:
    """Yields what a deletion that was interrupted has left."""
    for folder in sorted(artifact_dir.glob(f"*/.*{_DELETED}")):
        lock = lock_file(folder.with_name(folder.name.split(".")[1]))  # the fingerprint stands first
        if not _is_linked(folder) and is_free(lock):
            yield Garbage(
                Kind.unfinished, folder, lock, folder_bytes(folder), folder.stat().st_mtime, "left of a deletion"
            )


def _stale_hashes(artifact_dir: Path) -> Iterator[Garbage]:
    records = sorted(kept_hashes(artifact_dir).folder.glob("*.json"))
    yield from (item for item in map(_stale_hash, records) if item is not None and is_free(item.lock))


def _stale_hash(record: Path) -> Garbage | None:
    """Returns the kept hash of a file that is gone; None for another, and for a damaged one, which is made again."""
    try:
        file = Path(json.loads(record.read_text(encoding="utf-8"))["file"])
        status = record.stat()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not file.is_absolute() or file.exists():
        return None
    return Garbage(Kind.hashes, record, record.with_suffix(".lock"), status.st_size, status.st_mtime, f"of {file}")


def delete(item: Garbage, search: Search) -> str | None:
    """Deletes something, unless a process works on it or something refers to it by now.

    Returns:
        Why it is left alone; None if it is gone.
    """
    assert item.path.is_relative_to(search.artifact_dir)
    assert item.path != search.artifact_dir
    try:
        with _held(item.lock) as is_ours:
            if not is_ours:
                return "a process works on it"
            if not item.path.exists():
                return None
            if not _is_still_garbage(item, search):
                return "it was changed, or something refers to it by now"
            if item.kind is Kind.hashes:
                item.path.unlink(missing_ok=True)
            else:
                _delete_folder(item.path)
    except FileNotFoundError:  # somebody else deletes it
        return None
    except OSError as error:
        return f"{error.strerror}, {error.filename}"
    return None


def _is_still_garbage(item: Garbage, search: Search) -> bool:
    """Returns whether something is as it was found, and still nothing refers to it; its lock is held."""
    if item.kind is Kind.hashes:
        return _stale_hash(item.path) == item
    if item.path.is_symlink():
        return False
    if item.path.name.endswith(_DELETED):
        return True
    catalog = read_catalog(search.artifact_dir, search.log_dirs)
    step = next((step for step in catalog.steps if step.directory == item.path), None)
    return step is not None and step.changed == item.changed and _kind(catalog, step, search) is item.kind


def _delete_folder(folder: Path) -> None:
    """Deletes a folder; from the first moment on, it is nobody's artefact, even if the deletion is interrupted."""
    hidden = folder
    if not folder.name.endswith(_DELETED):
        hidden = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}{_DELETED}")
        folder.rename(hidden)
    shutil.rmtree(hidden)


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
    except (Timeout, PermissionError):  # also of a folder that can only be read
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
