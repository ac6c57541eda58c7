"""Finished artefacts: what their manifests say, and whether their files are still as they were made."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from medssr.errors import InputError
from medssr.utils.content_hashes import ContentHashes
from medssr.utils.files import read_record, write_json_atomically
from medssr.utils.outputs import MANIFEST_FILE, Damage, find_damage, outputs_below

log = logging.getLogger(__name__)

# The name of an artefact's folder.
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")
# The field of a manifest with the hash of the others.
_OWN_HASH = "sha256"
# In the folder of a run.
_POINTER_FILE = "artifact.json"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A finished step: its folder and what its manifest says."""

    directory: Path
    manifest: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """The hash that names the folder."""
        return self.directory.name

    @property
    def hashes(self) -> ContentHashes:
        """The hashes of files that are kept beside the artefacts of its store."""
        return kept_hashes(self.directory.parents[1])

    def path(self, name: str) -> Path:
        """Returns the path of a file or folder of the artefact."""
        return self.directory / name

    def damages(self, hashes: ContentHashes, below: str = ".", *, computes_again: bool = False) -> list[Damage] | None:
        """Returns the files that are not as the step made them; None where the manifest records no outputs.

        Args:
            hashes: Remembers the hashes of large files.
            below: The file or folder to look at, by its path in the artefact; "." for all.
            computes_again: Whether hashes are computed again that are remembered.
        """
        if "outputs" not in self.manifest:
            return None
        outputs = outputs_below(self.manifest["outputs"], below)
        return find_damage(self.directory, outputs, hashes, computes_again=computes_again)

    def check(self, hashes: ContentHashes, below: str = ".", *, computes_again: bool = False) -> None:
        """Checks that the artefact's files are as the step made them; arguments as in `damages`.

        An artefact of a version that recorded no outputs is used unchecked, with a warning.

        Raises:
            InputError: When a file differs. The message names it, how it differs, and what makes it anew.
        """
        damages = self.damages(hashes, below, computes_again=computes_again)
        if damages is None:
            _warn_unchecked(self.directory)
        elif damages:
            first = damages[0]
            more = f" (and {len(damages) - 1} more files)" if len(damages) > 1 else ""
            problem = f"it was damaged or changed after it was made{more}: it {first.difference}. {self.remedy}"
            raise InputError.at(first.file, problem)

    @property
    def remedy(self) -> str:
        """What to do when the artefact is damaged, as sentences."""
        command = self.manifest.get("command") or f"medssr-{str(self.manifest['step']).replace('_', '-')}"
        remedy = f"Delete {self.directory} and run {command} again, which makes it anew and keeps all others."
        if os.access(self.directory.parent, os.W_OK):
            return remedy
        return f"{remedy} Or leave its store out of paths.artifact_stores, so that your own is made."


@cache
def _warn_unchecked(directory: Path) -> None:
    """Warns once of each artefact."""
    log.warning("%s: an older version made it and recorded no sizes and hashes; used unchecked", directory)


def read_artifact(directory: Path) -> Artifact:
    """Returns the finished artefact in a folder.

    Raises:
        InputError: When the folder holds no manifest, or a damaged one.
    """
    file = directory / MANIFEST_FILE
    if not file.is_file():
        raise InputError.at(directory, "is no finished artefact (it has no manifest.json); run its step again.")
    remedy = f"Restore it, or delete {directory} and run its step again, which makes the artefact anew."
    manifest = read_record(file, remedy, step=str, inputs=dict, counts=dict, seconds=float)
    if not _are_outputs(manifest.get("outputs", {})):
        raise InputError.at(file, f"expected size and sha256 of each file. {remedy}", field="outputs")
    if {"outputs", _OWN_HASH} & manifest.keys() and manifest.get(_OWN_HASH) != sealed(manifest)[_OWN_HASH]:
        raise InputError.at(file, f"was damaged or changed after it was made. {remedy}", field=_OWN_HASH)
    return Artifact(directory, manifest)


def sealed(manifest: dict[str, Any]) -> dict[str, Any]:
    """Returns a manifest with the hash of all its other fields, so that a changed one is noticed."""
    others = {name: value for name, value in manifest.items() if name != _OWN_HASH}
    digest = hashlib.sha256(json.dumps(json.loads(json.dumps(others)), sort_keys=True).encode()).hexdigest()
    return others | {_OWN_HASH: digest}


def _are_outputs(value: Any) -> bool:
    """Returns whether a value has the form that `record_outputs` returns."""
    return isinstance(value, dict) and all(
        isinstance(record, dict) and type(record.get("size")) is int and isinstance(record.get("sha256"), str)
        for record in value.values()
    )


def finished_artifacts(store: Path) -> list[Path]:
    """Returns the folders of the finished artefacts in a folder of artefacts, in order."""
    folders = (manifest.parent for manifest in store.glob(f"*/*/{MANIFEST_FILE}"))
    return sorted(folder for folder in folders if _FINGERPRINT.fullmatch(folder.name))


def artifact_of(path: Path) -> Artifact | None:
    """Returns the finished artefact that a file or folder is or lies in; None where it lies in none.

    Raises:
        InputError: When the manifest of the artefact is damaged.
    """
    absolute = path.resolve()
    for folder in (absolute, *absolute.parents):
        # Folders of other programs may hold a manifest.json, too.
        if _FINGERPRINT.fullmatch(folder.name) and (folder / MANIFEST_FILE).is_file():
            return read_artifact(folder)
    return None


def check_input(path: Path, hashes: ContentHashes | None = None, *, computes_again: bool = False) -> Artifact | None:
    """Returns the artefact that a file or folder which is read lies in, once it is checked to be as the step made it.

    Args:
        path: The file or folder.
        hashes: Remembers the hashes of large files; those of the artefact's store if None.
        computes_again: Whether hashes are computed again that are remembered.

    Returns:
        None where it lies in none.

    Raises:
        InputError: When it differs.
    """
    artifact = artifact_of(path)
    if artifact is not None:
        below = path.resolve().relative_to(artifact.directory).as_posix()
        artifact.check(hashes or artifact.hashes, below, computes_again=computes_again)
    return artifact


def kept_hashes(store: Path) -> ContentHashes:
    """Returns the hashes of files that are kept in a folder of artefacts."""
    return ContentHashes(store / ".hashes")


def point_to(artifact: Artifact, run_dir: Path) -> None:
    """Writes into the folder of a run which artefact it made."""
    write_json_atomically(run_dir / _POINTER_FILE, {"artifact": str(artifact.directory.resolve())})


def pointed_to(run_dir: Path) -> Path | None:
    """Returns the folder of the artefact that a run made, None where its folder names none.

    Raises:
        InputError: When the file that names it is damaged.
    """
    file = run_dir / _POINTER_FILE
    if not file.is_file():
        return None
    return Path(read_record(file, "Run the command again, or name the artefact itself.", artifact=str)["artifact"])
