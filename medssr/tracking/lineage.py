"""What a step read and what it made, as W&B artifacts: from corpus to score."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.artifacts import Artifact, read_artifact
from medssr.evaluation.results_io import RESULTS_FILE

if TYPE_CHECKING:
    import wandb

# Of each step: the type of what it makes, the files of it that are kept in W&B, and the folders that are named only.
_MADE: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "synthesize": ("questions", ("questions.jsonl",), ()),
    "pseudo_label": ("labels", ("questions.jsonl",), ()),
    "evaluate": ("results", (RESULTS_FILE,), ()),
}
# The same of a training, whatever its method.
_TRAINED = ("model", ("metrics.csv",), ("model",))
_LARGEST_COPY = 100 * 2**20  # bytes; what is larger is named by its place
_UNLINKED = ("prompt_path", "ckpt_path")
# Nodes that are inputs also where they name no file: something built in, or on a hub.
_SOURCES = ("corpus", "entities", "model")


@dataclass(frozen=True, slots=True)
class Reference:
    """One thing that steps make or read. Equal references are one W&B artifact, whichever run logs them.

    Attributes:
        name: Its name in W&B: the step and fingerprint that made it, or what it is and a hash of its content.
        kind: Its type in W&B: "questions", "labels", "model", "results", "corpus" ...
        files: Files that are copied.
        places: URIs of what is named only, without being read.
        metadata: What else is known.
    """

    name: str
    kind: str
    files: tuple[Path, ...] = ()
    places: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)

    def as_wandb(self) -> wandb.Artifact:
        """Returns it as a W&B artifact that is not logged yet."""
        import wandb

        made = wandb.Artifact(self.name, self.kind, metadata=self.metadata)
        for file in self.files:
            # Finished artefacts do not change, so that W&B needs no copy of its own.
            made.add_file(str(file), policy="immutable", skip_cache=True)
        for place in self.places:
            made.add_reference(place, name=place.rsplit("/", 1)[-1], checksum=False)
        return made


def made_by(artifact: Artifact) -> Reference:
    """Returns what a step has made."""
    step = artifact.manifest["step"]
    kind, files, folders = _MADE.get(step, _TRAINED)
    found = [file for file in map(artifact.path, ("manifest.json", *files)) if file.is_file()]
    small = tuple(file for file in found if file.stat().st_size <= _LARGEST_COPY)
    named = [*(file for file in found if file not in small), *map(artifact.path, folders)]
    return Reference(
        f"{step}-{artifact.fingerprint}",
        kind,
        small,
        tuple(path.resolve().as_uri() for path in named),
        {"counts": artifact.manifest["counts"]},
    )


def read_by(artifact: Artifact, config: Mapping[str, Any]) -> list[Reference]:
    """Returns what a step has read: artefacts of other steps, further files, and sources that are no files.

    Args:
        artifact: What the step has made.
        config: The step's configuration, as plain values.
    """
    hashes: dict[str, str] = artifact.manifest["inputs"]
    references = {}
    for key, content in hashes.items():
        if key.split(".")[-1] not in _UNLINKED:
            reference = _input(key, Path(_value(config, key)), content, artifact.directory.parents[1])
            references[reference.name] = reference
    for name in _SOURCES:
        if name in config and not any(key.startswith(f"{name}.") and key.endswith(".path") for key in hashes):
            references[name] = _source(name, config[name])
    return list(references.values())


def _input(key: str, path: Path, content: str, artifact_dir: Path) -> Reference:
    """Returns a file or folder, as part of the artefact that it belongs to, or by its content."""
    own = path.resolve()
    if artifact_dir.resolve() in own.parents:
        step, fingerprint, *_ = own.relative_to(artifact_dir.resolve()).parts
        folder = artifact_dir / step / fingerprint
        if (folder / "manifest.json").is_file():
            return made_by(read_artifact(folder))
    first, *_, last = key.split(".")
    kind = last.removesuffix("_path") if last.endswith("_path") else first  # synthesis.benchmark_path, benchmark.path
    return Reference(f"{kind}-{content[:16]}", kind, (), (own.as_uri(),), {"path": str(path), "sha256": content})


def _source(name: str, node: Mapping[str, Any]) -> Reference:
    text = json.dumps(node, sort_keys=True, default=str)
    if "path" in node and isinstance(node["path"], str):  # on a hub
        known = re.sub(r"[^\w.-]+", "-", node["path"]).strip("-")
        return Reference(f"{name}-{known}", name, (), (f"https://huggingface.co/{node['path']}",), {"setting": text})
    return Reference(f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}", name, metadata={"setting": text})


def _value(config: Mapping[str, Any], key: str) -> Any:
    """Returns what stands at a dotted key; parts of it may be places in lists."""
    found: Any = config
    for part in key.split("."):
        found = found[int(part)] if isinstance(found, list) else found[part]
    return found
