"""The files that a step has made: their sizes and hashes as its manifest records them, and what differs on disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medssr.utils.content_hashes import ContentHashes

# Folders of what an unfinished step goes on from, which may be deleted once it is finished, and of what is added later:
# trained states (checked by their own checksums), the best model so far, sampled answers, runs of W&B.
STATE_FOLDERS = ("checkpoints", "best", "answers", "wandb")
MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True, slots=True)
class Output:
    """Size in bytes and SHA-256 of a file that a step has made."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that is not as its step made it, and how it differs, as the end of a sentence about the file."""

    file: Path
    difference: str


def files_made(directory: Path) -> list[str]:
    """Returns the files of an artefact by their paths in its folder, in order, without those of its state."""
    names = sorted(file.relative_to(directory).as_posix() for file in directory.rglob("*") if file.is_file())
    names = [name for name in names if name.split("/")[0] not in STATE_FOLDERS]
    return [name for name in names if not name.split("/")[-1].startswith(".")]  # what a killed process left half done


def record_outputs(directory: Path, hashes: ContentHashes, left_to_users: Iterable[str]) -> dict[str, Any]:
    """Returns the files of an artefact with size and hash, by their paths in its folder, as a manifest holds them.

    Args:
        directory: The artefact's folder.
        hashes: Remembers the hashes, so that the first use of a large file needs not read it.
        left_to_users: Files that people fill in later.
    """
    left_out = {MANIFEST_FILE, *left_to_users}
    names = [name for name in files_made(directory) if name not in left_out]
    files = [directory / name for name in names]
    return {
        name: asdict(Output(file.stat().st_size, digest))
        for name, file, digest in zip(names, files, hashes.of_files(files), strict=True)
    }


def outputs_below(outputs: Mapping[str, Any], below: str) -> dict[str, Output]:
    """Returns the recorded files of a manifest that are a file, or lie in a folder; "." stands for all of them."""
    return {
        name: Output(record["size"], record["sha256"])
        for name, record in outputs.items()
        if below in (".", name) or name.startswith(f"{below}/")
    }


def find_damage(
    directory: Path, outputs: Mapping[str, Output], hashes: ContentHashes, *, computes_again: bool
) -> list[Damage]:
    """Returns the files that differ from what was recorded; contents are compared where all sizes are right.

    Args:
        directory: The artefact's folder.
        outputs: The recorded files by their paths in the folder.
        hashes: Gives the hashes of files, from before for large files that have not changed since.
        computes_again: Whether the hash of every file is computed, also of those files.
    """
    damages = []
    for name, output in outputs.items():
        file = directory / name
        if not file.is_file():
            damages.append(Damage(file, "is missing"))
        elif (size := file.stat().st_size) != output.size:
            damages.append(Damage(file, f"has {size:,} bytes instead of {output.size:,}"))
    if damages:
        return damages
    files = [directory / name for name in outputs]
    digests = hashes.computed_again(files) if computes_again else hashes.of_files(files)
    return [
        Damage(file, f"has another content (SHA-256 {digest[:16]}... instead of {output.sha256[:16]}...)")
        for file, output, digest in zip(files, outputs.values(), digests, strict=True)
        if digest != output.sha256
    ]
