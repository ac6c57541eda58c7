"""Artefacts: the folder that a step writes, named by a fingerprint and complete once its manifest is there."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from medssr.errors import InputError
from medssr.utils import peers
from medssr.utils.content_hashes import ContentHashes
from medssr.utils.files import hash_path, write_json_atomically
from medssr.utils.foreign_sources import foreign_sources
from medssr.utils.naming import CHANGES_NO_RESULT
from medssr.utils.processes import are_started_together, is_main_process
from medssr.utils.provenance import git_commit, hardware, packages

log = logging.getLogger(__name__)

# What the main process announces of an artefact.
_BEGUN, _MADE = "begun", "made"
# Seconds between looks for a manifest that another process writes.
_LOOK_AGAIN_S = 0.5
# In the folder of a run.
_POINTER_FILE = "artifact.json"
# Sent to a chat server as it stands, so its names mean nothing here.
_VERBATIM = "extra_body"
# Left out of fingerprints at any depth: pace, addresses and cost do not change a result.
_PACE_AND_MONEY = frozenset(
    {"max_concurrency", "timeout_s", "max_retries", "prices", "budget", "addresses", "cost", "hub_config"}
)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A finished step: its folder and what its manifest says."""

    directory: Path
    manifest: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """The hash that names the folder."""
        return self.directory.name

    def path(self, name: str) -> Path:
        """Returns the path of a file or folder of the artefact."""
        return self.directory / name


@dataclass(frozen=True, slots=True)
class Step:
    """A step to run: its name, the configuration that decides its result, and the folder of all results.

    Attributes:
        name: "synthesize", "train" ...
        config: The step's whole configuration, a dataclass. A field called `path` or `..._path` that names an
            existing file or folder counts by its content, not by its name.
        artifact_dir: The folder of all artefacts.
        force: Whether to make the artefact anew although it is there.
        is_joint: Whether several processes make it together; else the main process makes it, and the others wait.
    """

    name: str
    config: Any
    artifact_dir: Path
    force: bool = False
    is_joint: bool = False

    @property
    def directory(self) -> Path:
        """The folder that the artefact has, or will have; all inputs are read for its name."""
        return self._identity()[0]

    def _identity(self) -> tuple[Path, dict[str, Any], dict[str, str]]:
        """Returns the artefact's folder, and the configuration and the inputs that its name stands for."""
        hashes = ContentHashes(self.artifact_dir / ".hashes")
        decisive, inputs = fingerprint_parts(asdict(self.config), hashes.of)
        fingerprint = _hash({"step": self.name, "config": decisive, "inputs": inputs})
        return self.artifact_dir / self.name / fingerprint, decisive, inputs

    def run(self, build: Callable[[Path], dict[str, Any]]) -> Artifact:
        """Returns the step's artefact: the one that is there, or the one that `build` makes.

        Args:
            build: Fills the folder that it is given and returns the counts for the manifest. The folder may hold what
                an interrupted run left; `build` goes on from there.
        """
        from filelock import FileLock

        directory, decisive, inputs = self._identity()
        directory.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory.parent / f".{directory.name}.lock")
        if self.force and are_started_together():
            raise InputError(
                f"force: several processes started together cannot remake {directory}; delete the folder instead."
            )
        if not is_main_process():
            if self.is_joint and not _is_made(directory):
                directory.mkdir(exist_ok=True)
                build(directory)
            return _made_by_main(directory)
        # A second run of the same step waits here and then finds the manifest.
        with lock:
            if self.force and is_main_process() and directory.exists():
                shutil.rmtree(directory)
            if (directory / "manifest.json").is_file():
                log.info("%s: already made, %s", self.name, directory)
                peers.announce(directory.name, _MADE)
                return read_artifact(directory)
            log.info("%s: %s in %s", self.name, "resumed" if directory.exists() else "started", directory)
            directory.mkdir(exist_ok=True)
            peers.announce(directory.name, _BEGUN)
            start = time.monotonic()
            try:
                counts = build(directory)
            except InputError:
                if not any(directory.iterdir()):  # refused before anything was made
                    directory.rmdir()
                raise
            manifest = {
                "step": self.name,
                "fingerprint": directory.name,
                "config": decisive,
                "inputs": inputs,
                "counts": counts,
                "seconds": round(time.monotonic() - start, 1),
                "packages": packages(),
                "git_commit": git_commit(),
                "hardware": hardware(),
            }
            write_json_atomically(directory / "manifest.json", manifest)
            peers.announce(directory.name, _MADE)
            return Artifact(directory, manifest)


def _is_made(directory: Path) -> bool:
    """Returns whether the main process has the artefact of a joint step, so that it does not make it again."""
    if peers.is_joined():  # with `force`, the folder may be that of an earlier run
        return peers.wait_for(directory.name, _BEGUN, _MADE) == _MADE
    return (directory / "manifest.json").is_file()


def _made_by_main(directory: Path) -> Artifact:
    """Returns the artefact once the main process has made it, however long that takes."""
    if peers.is_joined():
        peers.wait_for(directory.name, _MADE)
    while not (directory / "manifest.json").is_file():
        time.sleep(_LOOK_AGAIN_S)
    return read_artifact(directory)


def point_to(artifact: Artifact, run_dir: Path) -> None:
    """Writes into the folder of a run which artefact it made."""
    write_json_atomically(run_dir / _POINTER_FILE, {"artifact": str(artifact.directory.resolve())})


def pointed_to(run_dir: Path) -> Path | None:
    """Returns the folder of the artefact that a run made, None where its folder names none."""
    file = run_dir / _POINTER_FILE
    return Path(json.loads(file.read_text(encoding="utf-8"))["artifact"]) if file.is_file() else None


def read_artifact(directory: Path) -> Artifact:
    """Returns the finished artefact in a folder.

    Raises:
        InputError: When the folder holds no manifest.
    """
    file = directory / "manifest.json"
    if not file.is_file():
        raise InputError.at(directory, "is no finished artefact (it has no manifest.json); run its step again.")
    return Artifact(directory, json.loads(file.read_text(encoding="utf-8")))


def fingerprint_parts(
    config: Mapping[str, Any], identify: Callable[[Path], str] = hash_path
) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the configuration that decides a step's result, and what identifies each input by its key.

    Folders (`..._dir`), loggers, progress bars, budgets and the pace of calls are left out. A field `path` or
    `..._path` that names something on disk is moved to the inputs; any other value there (the name of a model on a hub)
    stays in the configuration. The source of a class that is not medssr's own is an input too.

    Args:
        config: The whole configuration, as plain values.
        identify: What an input counts by; the hash of its content.
    """
    decisive = decisive_values(config)
    inputs = foreign_sources(decisive)

    def walk(node: Any, key: str) -> Any:
        if isinstance(node, Mapping):
            return {
                name: value if name == _VERBATIM else walk(value, f"{key}.{name}" if key else str(name))
                for name, value in node.items()
            }
        if isinstance(node, list):
            return [walk(value, f"{key}.{index}") for index, value in enumerate(node)]
        is_path_field = key.split(".")[-1].endswith("path") and isinstance(node, str)
        if is_path_field and node and Path(node).exists():
            inputs[key] = identify(Path(node))
            return None
        return node

    return walk(decisive, ""), inputs


def decisive_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the configuration that decides a step's result as plain values, paths as they were given."""

    def walk(node: Any) -> Any:
        if isinstance(node, Mapping):
            return {
                name: value if name == _VERBATIM else walk(value)
                for name, value in node.items()
                if not name.endswith("_dir") and name not in _PACE_AND_MONEY
            }
        if isinstance(node, list | tuple):
            return [walk(value) for value in node]
        return node.value if isinstance(node, Enum) else node

    # Resuming from its own checkpoint changes no result; what `run` provides is in the other fields.
    left_out = {*CHANGES_NO_RESULT, "run", *(["ckpt_path"] if config.get("ckpt_path") in ("auto", "last") else [])}
    values = walk({name: value for name, value in config.items() if name not in left_out})
    assert isinstance(values, dict)
    return values


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
