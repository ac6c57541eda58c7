"""Steps: each writes a folder, an artefact, that is named by a fingerprint and complete once its manifest is there."""

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
from medssr.manifests import Artifact, check_input, kept_hashes, read_artifact, sealed
from medssr.utils import peers
from medssr.utils.files import hash_path, write_json_atomically
from medssr.utils.foreign_sources import foreign_sources
from medssr.utils.locks import hold_lock
from medssr.utils.naming import CHANGES_NO_RESULT
from medssr.utils.outputs import MANIFEST_FILE, record_outputs
from medssr.utils.processes import are_started_together, is_main_process
from medssr.utils.progress import Preparing, progress_shown
from medssr.utils.provenance import command_line, git_commit, hardware, is_called_from_python, packages

log = logging.getLogger(__name__)

# What the main process announces of an artefact.
_BEGUN, _MADE = "begun", "made"
# Seconds between looks for a manifest that another process writes.
_LOOK_AGAIN_S = 0.5
# Sent to a chat server as it stands, so its names mean nothing here.
_VERBATIM = "extra_body"
# Left out of fingerprints at any depth, since they change no result: pace, addresses and cost; and what a model
# suggests for its training, which is in the settings of the optimiser and of GRPO where it is taken.
_WITHOUT_EFFECT = frozenset(
    {"max_concurrency", "timeout_s", "max_retries", "prices", "budget", "addresses", "cost", "hub_config"}
    | {"grpo_lr", "grpo_adapter_lr", "grpo_beta", "num_reward_workers"}
)


@dataclass(frozen=True, slots=True)
class _Identity:
    """What the name of an artefact stands for.

    Attributes:
        directory: The artefact's folder.
        config: The configuration that decides the result.
        inputs: What identifies each input, by its key.
        origins: The fingerprints of the artefacts that an input lies in, by its key; of equal inputs, those of each.
    """

    directory: Path
    config: dict[str, Any]
    inputs: dict[str, str]
    origins: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Step:
    """A step to run: its name, the configuration that decides its result, and the folders of all results.

    Attributes:
        name: "synthesize", "train" ...
        config: The step's whole configuration, a dataclass. A field called `path` or `..._path` that names an
            existing file or folder counts by its content, not by its name.
        artifact_dir: The folder of all artefacts.
        force: Whether to make the artefact anew although it is there.
        is_joint: Whether several processes make it together; else the main process makes it, and the others wait.
        verify: Whether an artefact that is there is read as a whole to be checked.
        stores: Further folders of artefacts, which are read only.
        left_to_users: Files of the artefact that people fill in.
        shows_progress: Whether the progress of the making is shown.
    """

    name: str
    config: Any
    artifact_dir: Path
    force: bool = False
    is_joint: bool = False
    verify: bool = False
    stores: tuple[Path, ...] = ()
    left_to_users: tuple[str, ...] = ()
    shows_progress: bool = False

    @classmethod
    def of(cls, name: str, command: Any, **attributes: Any) -> Step:
        """Returns the step of a command.

        Args:
            name: The step's name.
            command: The command's configuration: `paths`, `force`, `verify` and the progress bar are those of the step.
            attributes: Further attributes of the step; `config` where it is not the command's.
        """
        paths = command.paths
        return cls(
            name,
            artifact_dir=Path(paths.artifact_dir).absolute(),  # results name artefacts for readers in other folders
            stores=tuple(Path(store).absolute() for store in paths.artifact_stores),
            force=command.force,
            verify=command.verify,
            shows_progress=command.extras.progress_bar,
            **{"config": command} | attributes,
        )

    @property
    def directory(self) -> Path:
        """The folder that the artefact has, or will have; all inputs are read for its name."""
        return self._identity().directory

    def find(self) -> Path | None:
        """Returns the folder of the finished artefact, in the folder of all artefacts or a further store."""
        return self._find(self.directory.name)

    def run(self, build: Callable[[Path], dict[str, Any]]) -> Artifact:
        """Returns the step's artefact: the one that is there, or the one that `build` makes.

        Args:
            build: Fills the folder that it is given and returns the counts for the manifest. The folder may hold what
                an interrupted run left; `build` goes on from there.

        Raises:
            InputError: When an input, or the artefact that is there, lies in an artefact and is not as it was made.
        """
        identity = self._identity()
        directory = identity.directory
        if self.force and are_started_together():
            raise InputError(
                f"force: several processes started together cannot remake {directory}; delete the folder instead."
            )
        if not is_main_process():
            if self.is_joint and not self._is_made(directory):
                directory.mkdir(parents=True, exist_ok=True)
                build(directory)  # whose progress the main process shows
            return self._made_by_main(directory)
        # Before the lock, which a store that can only be read has no place for.
        if not self.force and (finished := self._find(directory.name)):
            return self._reuse(finished)
        directory.parent.mkdir(parents=True, exist_ok=True)
        # A second run of the same step waits here and then finds the manifest.
        with hold_lock(lock_file(directory), f"the making of {directory}"):
            if self.force and directory.exists():
                shutil.rmtree(directory)
            if (directory / MANIFEST_FILE).is_file():
                return self._reuse(directory)
            return self._make(identity, build)

    def _identity(self) -> _Identity:
        hashes = kept_hashes(self.artifact_dir)
        lies_in: dict[str, set[str]] = {}

        def identify(path: Path) -> str:
            artifact = check_input(path, hashes, computes_again=self.verify)
            content = hashes.of(path)
            if artifact is not None:
                lies_in.setdefault(content, set()).add(artifact.fingerprint)
            return content

        decisive, inputs = fingerprint_parts(asdict(self.config), identify)
        fingerprint = fingerprint_of({"step": self.name, "config": decisive, "inputs": inputs})
        origins = {key: sorted(lies_in[content]) for key, content in inputs.items() if content in lies_in}
        return _Identity(self.artifact_dir / self.name / fingerprint, decisive, inputs, origins)

    def _find(self, fingerprint: str) -> Path | None:
        for store in self.stores:
            if not store.is_dir():
                raise InputError(f"paths.artifact_stores: there is no folder {store}; mount it, or leave it out.")
        searched = (self.artifact_dir, *([] if self.force else self.stores))
        folders = (store / self.name / fingerprint for store in searched)
        return next((folder for folder in folders if (folder / MANIFEST_FILE).is_file()), None)

    def _reuse(self, directory: Path) -> Artifact:
        """Returns the finished artefact in a folder once it is checked."""
        artifact = read_artifact(directory)
        if artifact.manifest.get("fingerprint") != directory.name:
            problem = f"is the manifest of another artefact. Delete {directory}; the same command makes it anew."
            raise InputError.at(directory / MANIFEST_FILE, problem, field="fingerprint")
        artifact.check(kept_hashes(self.artifact_dir), computes_again=self.verify)
        log.info("%s: already made, %s", self.name, directory)
        peers.announce(directory.name, _MADE)
        return artifact

    def _make(self, identity: _Identity, build: Callable[[Path], dict[str, Any]]) -> Artifact:
        """Returns the artefact that `build` makes or finishes."""
        directory = identity.directory
        log.info("%s: %s in %s", self.name, "resumed" if directory.exists() else "started", directory)
        directory.mkdir(exist_ok=True)
        peers.announce(directory.name, _BEGUN)
        start = time.monotonic()
        try:
            with progress_shown(self.shows_progress), Preparing(self.name):
                counts = build(directory)
        except InputError:
            if not any(directory.iterdir()):  # refused before anything was made
                directory.rmdir()
            raise
        fields = {
            "step": self.name,
            "fingerprint": directory.name,
            "command": command_line(),
            "from_python": is_called_from_python(),
            "config": identity.config,
            "inputs": identity.inputs,
            "origins": identity.origins,
            "counts": counts,
            "seconds": round(time.monotonic() - start, 1),
            "packages": packages(),
            "git_commit": git_commit(),
            "hardware": hardware(),
            "outputs": record_outputs(directory, kept_hashes(self.artifact_dir), self.left_to_users),
        }
        manifest = sealed(fields)
        write_json_atomically(directory / MANIFEST_FILE, manifest)
        peers.announce(directory.name, _MADE)
        return Artifact(directory, manifest)

    def _is_made(self, directory: Path) -> bool:
        """Returns whether the main process has the artefact of a joint step, so that it does not make it again."""
        if peers.is_joined():  # with `force`, the folder may be that of an earlier run
            return peers.wait_for(directory.name, _BEGUN, _MADE) == _MADE
        return self._find(directory.name) is not None

    def _made_by_main(self, directory: Path) -> Artifact:
        """Returns the artefact once the main process has made it, however long that takes."""
        if peers.is_joined():
            peers.wait_for(directory.name, _MADE)
        while (finished := self._find(directory.name)) is None:
            time.sleep(_LOOK_AGAIN_S)
        return read_artifact(finished)


def lock_file(directory: Path) -> Path:
    """Returns the lock that a process holds while it makes the artefact of a folder."""
    return directory.parent / f".{directory.name}.lock"


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
                if not name.endswith("_dir") and name not in _WITHOUT_EFFECT
            }
        if isinstance(node, list | tuple):
            return [walk(value) for value in node]
        return node.value if isinstance(node, Enum) else node

    # Resuming from its own checkpoint changes no result; what `run` provides is in the other fields.
    left_out = {*CHANGES_NO_RESULT, "run", *(["ckpt_path"] if config.get("ckpt_path") in ("auto", "last") else [])}
    values = walk({name: value for name, value in config.items() if name not in left_out})
    assert isinstance(values, dict)
    return values


def fingerprint_of(value: Any) -> str:
    """Returns the short hash of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
