"""What is in a folder of artefacts and in a folder of runs, and what was made from what."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from medssr.artifacts import lock_file
from medssr.errors import InputError
from medssr.manifests import Artifact, read_artifact
from medssr.utils.outputs import MANIFEST_FILE

_FINGERPRINT = re.compile(r"(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])")
# Of a run: what names the artefacts that it made or read.
_READ_OF_RUNS = ("*.log", "*.json", ".hydra/*.yaml")
# In the folder of a run, that of its configuration.
_HYDRA = ".hydra"
# In the folder of artefacts: files of questions that were put together from others, with a record beside each.
_MIXED = "mixed"


@dataclass(frozen=True, slots=True)
class StoredStep:
    """A folder of a step in the folder of artefacts.

    Attributes:
        directory: The folder.
        changed: When the step was finished, or else when its folder last changed, in seconds since the epoch.
        artifact: The finished artefact; None if the step is unfinished or its manifest damaged.
        problem: What is wrong with the manifest; None if nothing is, or there is none.
    """

    directory: Path
    changed: float
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
    def command(self) -> str | None:
        """The command line that made the artefact; None where none did, or it is not known."""
        return None if self.artifact is None else str(self.artifact.manifest.get("command") or "") or None

    @property
    def num_bytes(self) -> int:
        """What the folder takes on disk, with what a step goes on from."""
        return folder_bytes(self.directory)


@dataclass(frozen=True, slots=True)
class StoredRun:
    """The folder of one run of a command.

    Attributes:
        directory: The folder.
        changed: When its folder or its log last changed, in seconds since the epoch.
        command: The name of the command or task.
        overrides: What its command line set; None where the file that says so is damaged.
        mentioned: The fingerprints that its log, its results and its configuration name.
    """

    directory: Path
    changed: float
    command: str
    overrides: list[str] | None
    mentioned: frozenset[str]

    @property
    def settings(self) -> str:
        """What its command line set, as one text."""
        return "not known: .hydra/overrides.yaml is damaged" if self.overrides is None else " ".join(self.overrides)


@dataclass(frozen=True)
class Catalog:
    """All steps and runs of a project.

    Attributes:
        steps: The steps.
        runs: The runs.
        mixtures: The hashes of the files that a file of questions was put together from, by its own hash.
    """

    steps: list[StoredStep]
    runs: list[StoredRun]
    mixtures: Mapping[str, list[str]] = field(default_factory=dict)

    @cached_property
    def made_from(self) -> dict[str, dict[str, list[str]]]:
        """By fingerprint, the fingerprints of the artefacts that each input of an artefact lies in, by the input's key.

        A manifest says in `origins` which artefacts its inputs lay in. Where these are gone, or an input lay in none,
        it is an artefact that has a file or folder with the same content and did not only copy it from its own inputs;
        of several, the oldest. A mixture of questions comes from the artefacts of its parts.
        """
        makers, fingerprints = self._makers(), {step.fingerprint for step in self.steps}
        inputs_by_fingerprint: dict[str, dict[str, list[str]]] = {}
        for step in self.steps:
            if step.artifact is None:
                continue
            recorded: Mapping[str, list[str]] = step.artifact.manifest.get("origins") or {}
            inputs = inputs_by_fingerprint.setdefault(step.fingerprint, {})
            for key, content in step.artifact.manifest["inputs"].items():
                origins = [origin for origin in recorded.get(key) or () if origin in fingerprints]
                by_content = [makers.get(part) for part in (content, *self.mixtures.get(content, ()))]
                origins = origins or [origin for origin in dict.fromkeys(by_content) if origin is not None]
                if origins := [origin for origin in origins if origin != step.fingerprint]:
                    inputs[key] = origins
        return {fingerprint: inputs for fingerprint, inputs in inputs_by_fingerprint.items() if inputs}

    def _makers(self) -> dict[str, str]:
        """Returns the fingerprint of the oldest artefact that has a file or folder of its own with a content."""
        makers: dict[str, str] = {}
        for step in sorted((step for step in self.steps if step.artifact), key=lambda step: step.changed):
            assert step.artifact is not None
            copied = set(step.artifact.manifest["inputs"].values())
            for content in contents(step.artifact.manifest):
                if content not in copied:
                    makers.setdefault(content, step.fingerprint)
        return makers

    def users(self, fingerprint: str) -> list[str]:
        """Returns the fingerprints of the artefacts that were made from one."""
        return [user for user, inputs in self.made_from.items() if any(fingerprint in each for each in inputs.values())]

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
        matching = exact or [item for item in items if begin and item.directory.name.startswith(begin)]
        if not matching:
            raise InputError(f"{name}: there is no such artefact or run; medssr list has all.")
        if len(matching) > 1:
            names = ", ".join(str(item.directory) for item in matching[:4])
            raise InputError(f"{name}: could be any of {len(matching)}, such as {names}; give more of its name.")
        return matching[0]


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
    """Returns the steps in a folder of artefacts, and the runs in folders of logs, the oldest first.

    Raises:
        InputError: When a file that says what was made or used cannot be read.
    """
    folders = [folder for folder in artifact_dir.glob("*/*") if _FINGERPRINT.fullmatch(folder.name)]
    steps = [step for step in map(_read_step, folders) if step is not None]
    runs = [run for log_dir in log_dirs for run in runs_below(log_dir)]
    runs = list({run.directory.resolve(): run for run in runs}.values())  # a folder may be given in another
    mixtures = dict(_mixtures(artifact_dir / _MIXED))
    return Catalog(
        sorted(steps, key=lambda step: step.changed), sorted(runs, key=lambda run: run.changed), mixtures=mixtures
    )


def runs_below(folder: Path) -> Iterator[StoredRun]:
    """Yields the runs in a folder, at any depth: a study may have its runs anywhere."""
    for configuration in folder.rglob(_HYDRA):
        run = _read_run(configuration.parent)
        if run is not None:
            yield run


def _read_step(directory: Path) -> StoredStep | None:
    """Returns the step of a folder; None if it is of something else, or gone by now, or a link to nothing."""
    try:
        changed = directory.stat().st_mtime
        status = (directory / MANIFEST_FILE).stat()
        changed = status.st_mtime
        return StoredStep(directory, changed, _read_artifact(directory, status.st_mtime_ns, status.st_size))
    except FileNotFoundError:
        return StoredStep(directory, changed, None) if directory.is_dir() and lock_file(directory).is_file() else None
    except InputError as error:
        return StoredStep(directory, changed, None, str(error))
    except OSError as error:
        return StoredStep(directory, changed, None, f"cannot be read: {error.strerror}")


@cache
def _read_artifact(directory: Path, mtime_ns: int, size: int) -> Artifact:
    """Returns the artefact of a folder; of an unchanged manifest the same one again."""
    return read_artifact(directory)


def _read_run(directory: Path) -> StoredRun | None:
    """Returns the run in a folder; None if it is gone by now."""
    try:
        files = [file for pattern in _READ_OF_RUNS for file in sorted(directory.glob(pattern)) if file.is_file()]
        changed = [file.stat().st_mtime for file in (directory, *directory.glob("*.log"))]
        mentioned = [_mentioned(file, file.stat().st_mtime_ns, file.stat().st_size) for file in files]
        return StoredRun(
            directory, max(changed), _command_of(directory), _overrides(directory), frozenset().union(*mentioned)
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(directory, error) from error


@cache
def _mentioned(file: Path, mtime_ns: int, size: int) -> frozenset[str]:
    """Returns the fingerprints that a file names; an unchanged file is read once."""
    return frozenset(_FINGERPRINT.findall(file.read_text(encoding="utf-8", errors="replace")))


def _overrides(directory: Path) -> list[str] | None:
    import yaml

    file = directory / _HYDRA / "overrides.yaml"
    if not file.is_file():
        return []
    try:
        given = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return None
    if given is None:
        return []
    return list(map(str, given)) if isinstance(given, list) else None


def _command_of(directory: Path) -> str:
    """Returns the name of a run's command: that of the folder around runs or sweeps, or else of the log file."""
    *above, command, kind, _ = ("", "", *directory.parts)
    if kind == "runs":
        return command
    if command == "sweeps" and above[-1]:
        return above[-1]
    return next((file.stem for file in sorted(directory.glob("*.log"))), directory.name)


def _mixtures(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yields the hash of each mixture of questions, and those of its parts; a damaged one is written anew when used."""
    for file in sorted(folder.glob("*.json")):
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            yield str(record["sha256"]), list(map(str, record["parts"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            continue
        except OSError as error:
            raise _unreadable(file, error) from error


def _unreadable(folder: Path, error: OSError) -> InputError:
    file = error.filename or folder
    return InputError.at(str(file), f"cannot be read ({error.strerror}), so what was made from what is not known.")


def folder_bytes(folder: Path) -> int:
    """Returns the size of all files below a folder; those that go meanwhile, or cannot be looked at, are left out."""
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.lstat().st_size if not file.is_dir() else 0
        except OSError:  # or that another user's folder hides
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
