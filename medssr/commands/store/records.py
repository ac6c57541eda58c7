"""What is in a folder of artefacts and in a folder of runs, and what was made from what."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from medssr.artifacts import lock_file
from medssr.errors import InputError
from medssr.manifests import Artifact, read_artifact
from medssr.utils.outputs import MANIFEST_FILE

_FINGERPRINT = re.compile(r"(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])")
# Of a run: what names the artefacts that it made or read.
_READ_OF_RUNS = ("*.log", "*.json", ".hydra/*.yaml")


@dataclass(frozen=True, slots=True)
class StoredStep:
    """A folder of a step in the folder of artefacts.

    Attributes:
        directory: The folder.
        artifact: The finished artefact; None if the step is unfinished or its manifest damaged.
        problem: What is wrong with the manifest; None if nothing is, or there is none.
    """

    directory: Path
    artifact: Artifact | None
    problem: str | None = None

    @property
    def fingerprint(self) -> str:
        """The name of the folder."""
        return self.directory.name

    @property
    def step(self) -> str:
        """The name of the step."""
        return self.directory.parent.name

    @property
    def name(self) -> str:
        """Step and fingerprint."""
        return f"{self.step}/{self.fingerprint}"

    @property
    def state(self) -> str:
        """What is there: "made", "unfinished" or "damaged"."""
        return "made" if self.artifact is not None else "unfinished" if self.problem is None else "damaged"

    @property
    def changed(self) -> float:
        """When the step was finished, or else when its folder last changed, in seconds since the epoch."""
        manifest = self.directory / MANIFEST_FILE
        return (manifest if manifest.is_file() else self.directory).stat().st_mtime

    @property
    def num_bytes(self) -> int:
        """What the folder takes on disk, with what a step goes on from."""
        return folder_bytes(self.directory)


@dataclass(frozen=True, slots=True)
class StoredRun:
    """The folder of one run of a command.

    Attributes:
        directory: The folder.
        command: The name of the command or task.
        overrides: What its command line set.
        mentioned: The fingerprints that its log, its results and its configuration name.
    """

    directory: Path
    command: str
    overrides: list[str]
    mentioned: frozenset[str]

    @property
    def changed(self) -> float:
        """When something in it last changed, in seconds since the epoch."""
        return max(file.stat().st_mtime for file in (self.directory, *self.directory.glob("*.log")))


@dataclass(frozen=True)
class Catalog:
    """All steps and runs of a project."""

    steps: list[StoredStep]
    runs: list[StoredRun]

    @cached_property
    def made_from(self) -> dict[str, dict[str, str]]:
        """By fingerprint, the fingerprint of the artefact that each input of an artefact lies in, by the input's key.

        A manifest records the content of an input, not its path; so the artefact is one that has a file or folder with
        this content and did not only copy it from its own inputs. Of several, the oldest.
        """
        makers: dict[str, str] = {}
        for step in sorted((step for step in self.steps if step.artifact), key=lambda step: step.changed):
            assert step.artifact is not None
            copied = set(step.artifact.manifest["inputs"].values())
            for content in contents(step.artifact.manifest):
                if content not in copied:
                    makers.setdefault(content, step.fingerprint)
        return {
            step.fingerprint: {
                key: makers[content]
                for key, content in step.artifact.manifest["inputs"].items()
                if makers.get(content, step.fingerprint) != step.fingerprint
            }
            for step in self.steps
            if step.artifact is not None
        }

    def users(self, fingerprint: str) -> list[str]:
        """Returns the fingerprints of the artefacts that were made from one."""
        return [user for user, inputs in self.made_from.items() if fingerprint in inputs.values()]

    def runs_with(self, fingerprint: str) -> list[StoredRun]:
        """Returns the runs that name an artefact."""
        return [run for run in self.runs if fingerprint in run.mentioned]

    def step_of(self, fingerprint: str) -> StoredStep:
        """Returns the step with a fingerprint."""
        return next(step for step in self.steps if step.fingerprint == fingerprint)

    def find(self, name: str) -> StoredStep | StoredRun:
        """Returns the step or run that a name means: the begin of a fingerprint, STEP/FINGERPRINT, or a folder.

        Raises:
            InputError: When there is none, or several.
        """
        folder = Path(name).resolve()
        begin = name.rpartition("/")[2]
        items: list[StoredStep | StoredRun] = [*self.steps, *self.runs]
        exact = [item for item in items if item.directory.resolve() in (folder, *folder.parents)]
        found = exact or [item for item in items if begin and item.directory.name.startswith(begin)]
        if not found:
            raise InputError(f"{name}: there is no such artefact or run; medssr list has all.")
        if len(found) > 1:
            names = ", ".join(str(item.directory) for item in found[:4])
            raise InputError(f"{name}: could be any of {len(found)}, such as {names}; give more of its name.")
        return found[0]


def contents(manifest: Mapping[str, Any]) -> Iterator[str]:
    r"""Yields the hash of each output of an artefact, and of each folder of outputs, as the hash of an input has it.

    Example:
        >>> outputs = {"model/a": {"size": 1, "sha256": "1"}, "model/b": {"size": 1, "sha256": "2"}}
        >>> from hashlib import sha256
        >>> list(contents({"outputs": outputs})) == ["1", "2", sha256(b"a 1\nb 2\n").hexdigest()]
        True
    """
    outputs: Mapping[str, Any] = manifest.get("outputs", {})
    folders: dict[str, list[tuple[Path, str]]] = {}
    for name, output in outputs.items():
        yield output["sha256"]
        path = Path(name)
        for folder in path.parents[:-1]:
            folders.setdefault(folder.as_posix(), []).append((path.relative_to(folder), output["sha256"]))
    for files in folders.values():  # as hash_path does
        lines = (f"{path.as_posix()} {digest}\n" for path, digest in sorted(files))
        yield hashlib.sha256("".join(lines).encode()).hexdigest()


def read_catalog(artifact_dir: Path, log_dirs: list[Path]) -> Catalog:
    """Returns the steps in a folder of artefacts, and the runs in folders of logs, the oldest first."""
    steps = [
        _read_step(folder)
        for folder in artifact_dir.glob("*/*")
        if _FINGERPRINT.fullmatch(folder.name) and ((folder / MANIFEST_FILE).is_file() or lock_file(folder).is_file())
    ]
    runs = [
        _read_run(configuration.parent, log_dir)
        for log_dir in log_dirs
        for depth in ("*/runs/*", "*/sweeps/*/*")
        for configuration in log_dir.glob(f"{depth}/.hydra")
    ]
    return Catalog(sorted(steps, key=lambda step: step.changed), sorted(runs, key=lambda run: run.changed))


def _read_step(directory: Path) -> StoredStep:
    if not (directory / MANIFEST_FILE).is_file():
        return StoredStep(directory, None)
    try:
        return StoredStep(directory, read_artifact(directory))
    except InputError as error:
        return StoredStep(directory, None, str(error))


def _read_run(directory: Path, log_dir: Path) -> StoredRun:
    import yaml

    texts = [
        file.read_text(encoding="utf-8", errors="replace")
        for pattern in _READ_OF_RUNS
        for file in sorted(directory.glob(pattern))
    ]
    overrides = directory / ".hydra" / "overrides.yaml"
    given = yaml.safe_load(overrides.read_text(encoding="utf-8")) if overrides.is_file() else []
    mentioned = frozenset(name for text in texts for name in _FINGERPRINT.findall(text))
    return StoredRun(directory, directory.relative_to(log_dir).parts[0], given or [], mentioned)


def folder_bytes(folder: Path) -> int:
    """Returns the size of all files below a folder; those that go meanwhile are left out."""
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.lstat().st_size if not file.is_dir() else 0
        except FileNotFoundError:
            continue
    return total


def size_text(num_bytes: int) -> str:
    """Returns a size as text.

    Example:
        >>> size_text(532), size_text(17_848_320), size_text(131_051_765_760)
        ('532 B', '17.8 MB', '131.1 GB')
    """
    for size, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if num_bytes >= size:
            return f"{num_bytes / size:.1f} {unit}"
    return f"{num_bytes} B"
