"""The inputs and outputs of steps as W&B artifacts, from the corpus to the scores."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.evaluation.results_io import RESULTS_FILE
from medssr.manifests import Artifact, artifact_of
from medssr.tracking.wandb_limits import accepted_text

if TYPE_CHECKING:
    import wandb

# By step: the type of its output, the files that are copied to W&B, and the folders that are only referenced.
_OUTPUTS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "synthesize": ("questions", ("questions.jsonl",), ()),
    "pseudo_label": ("labels", ("questions.jsonl",), ()),
    "evaluate": ("results", (RESULTS_FILE,), ()),
}
# The same of a training, whatever its method.
_TRAINED = ("model", ("metrics.csv",), ("model",))
_MAX_COPY = 100 * 2**20  # bytes; a larger file is only referenced
_UNLINKED = ("prompt_path", "ckpt_path", "_target_")  # inputs that are not shown in the lineage
# Nodes that are inputs even without a file: a built-in source, or one on a hub.
_SOURCES = ("corpus", "entities", "model")


@dataclass(frozen=True, slots=True)
class Reference:
    """An input or output of steps. Equal references are one W&B artifact, whichever run logs them.

    Attributes:
        name: Its name in W&B: the step and fingerprint that made it, or its kind and a hash of its content.
        kind: Its type in W&B: "questions", "labels", "model", "results", "corpus" ...
        files: Files that are copied.
        uris: URIs of files and folders that are only referenced.
        metadata: Further facts, such as counts.
    """

    name: str
    kind: str
    files: tuple[Path, ...] = ()
    uris: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)

    def as_wandb(self) -> wandb.Artifact:
        """Returns the reference as a W&B artifact that is not logged yet."""
        import wandb

        artifact = wandb.Artifact(self.name, self.kind, metadata=self.metadata)
        for file in self.files:
            # Finished artefacts do not change, so W&B needs no copy in its cache.
            artifact.add_file(str(file), policy="immutable", skip_cache=True)
        for uri in self.uris:
            artifact.add_reference(uri, name=uri.rsplit("/", 1)[-1], checksum=False)
        return artifact


def output_of(artifact: Artifact) -> Reference:
    """Returns the output of a step."""
    step = artifact.manifest["step"]
    kind, names, folders = _OUTPUTS.get(step, _TRAINED)
    files = [file for file in map(artifact.path, ("manifest.json", *names)) if file.is_file()]
    copied = tuple(file for file in files if file.stat().st_size <= _MAX_COPY)
    referenced = [*(file for file in files if file not in copied), *map(artifact.path, folders)]
    return Reference(
        f"{step}-{artifact.fingerprint}",
        kind,
        copied,
        tuple(path.resolve().as_uri() for path in referenced),
        {"counts": artifact.manifest["counts"]},
    )


def inputs_of(artifact: Artifact, config: Mapping[str, Any]) -> list[Reference]:
    """Returns the inputs of a step: artefacts of other steps, further files, and sources without a file.

    Args:
        artifact: The output of the step.
        config: The step's configuration, as plain values.
    """
    hashes: dict[str, str] = artifact.manifest["inputs"]
    references = {}
    for key, content in hashes.items():
        if key.split(".")[-1] not in _UNLINKED:
            reference = _input(key, Path(_value(config, key)), content)
            references[reference.name] = reference
    for name in _SOURCES:
        if name in config and not any(key.startswith(f"{name}.") and key.endswith(".path") for key in hashes):
            references[name] = _source(name, config[name])
    return list(references.values())


def _input(key: str, path: Path, content: str) -> Reference:
    """Returns a file or folder: the artefact that it belongs to, or a reference named by its content."""
    absolute = path.resolve()
    if (artifact := artifact_of(absolute)) is not None:
        return output_of(artifact)
    first, *_, last = key.split(".")
    kind = last.removesuffix("_path") if last.endswith("_path") else first  # synthesis.benchmark_path, benchmark.path
    return Reference(f"{kind}-{content[:16]}", kind, (), (absolute.as_uri(),), {"path": str(path), "sha256": content})


def _source(name: str, node: Mapping[str, Any]) -> Reference:
    text = json.dumps(node, sort_keys=True, default=str)
    if "path" in node and isinstance(node["path"], str):  # on a hub
        readable = re.sub(r"[^\w.-]+", "-", node["path"]).strip("-")
        return Reference(
            accepted_text(f"{name}-{readable}"),
            name,
            (),
            (f"https://huggingface.co/{node['path']}",),
            {"setting": text},
        )
    return Reference(f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}", name, metadata={"setting": text})


def _value(config: Mapping[str, Any], key: str) -> Any:
    """Returns the value at a dotted key, whose parts may be indices of lists."""
    value: Any = config
    for part in key.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value
