"""What of an artefact goes to a repository of the hub, a look for what must not, and the upload itself."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medssr.errors import InputError
from medssr.hub.cards import CARD_FILE, Card, read_card
from medssr.hub.dataset_card import QUESTIONS_FILE
from medssr.hub.model_card import with_results
from medssr.manifests import Artifact

_MODEL_FOLDER = "model"
_MODEL_STEPS = ("train", "sft")
_DATASET_STEPS = ("synthesize", "pseudo_label")
# The files of a question set. Ledgers, logs, states and whatever else lies in the folder stay here.
_DATASET_FILES = (
    QUESTIONS_FILE,
    "rejected.jsonl",
    "votes.jsonl",
    "distribution.json",
    "distribution.md",
    "entity_coverage.json",
)
_ADAPTER_SETTINGS, _ADAPTER_BASE = "adapter_config.json", "base_model_name_or_path"
# Files without text, which are not searched.
_BINARY = (".safetensors",)
# Files that libraries load weights from.
_WEIGHTS = (".safetensors", ".index.json", ".bin")
_SECRET_NAMES = ("KEY", "TOKEN", "SECRET", "PASSWORD")
_MIN_SECRET_CHARS = 8


@dataclass(frozen=True, slots=True)
class UploadFile:
    """A file to upload.

    Attributes:
        name: Its path in the repository.
        source: The file here, or what is uploaded in place of one.
    """

    name: str
    source: Path | bytes

    @property
    def num_bytes(self) -> int:
        """Its size."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size


@dataclass(frozen=True, slots=True)
class Upload:
    """What is uploaded.

    Attributes:
        repo: The name of the repository.
        repo_type: "model" or "dataset".
        card: The card, which is one of the files.
        files: The files.
    """

    repo: str
    repo_type: str
    card: Card
    files: list[UploadFile]

    @property
    def num_bytes(self) -> int:
        """The size of all files."""
        return sum(file.num_bytes for file in self.files)


def plan_upload(
    artifact: Artifact, repo: str, evaluations: Sequence[Mapping[str, Any]], datasets: Sequence[str]
) -> Upload:
    """Returns what of an artefact is uploaded, with the card as it is then.

    Args:
        artifact: A training, or a question set.
        repo: The name of the repository.
        evaluations: The content of `results.json` of each evaluation of a trained model.
        datasets: The names on the hub of the question sets that a model was trained on, for its card.

    Raises:
        InputError: When the artefact is neither, is damaged, has no card, or holds a path or key of this machine.
    """
    step = str(artifact.manifest["step"])
    if step not in (*_MODEL_STEPS, *_DATASET_STEPS):
        problem = f"is of the step {step}; a training or a question set can be pushed."
        raise InputError.at(artifact.directory, problem)
    artifact.check(artifact.hashes)
    is_model = step in _MODEL_STEPS
    folder = artifact.path(_MODEL_FOLDER) if is_model else artifact.directory
    card = read_card(folder)
    if card is None:
        problem = f"has no {CARD_FILE}, because an older version made it. Run its command again with force=true."
        raise InputError.at(folder, problem)
    if is_model:
        card = with_results(card, repo, evaluations)
        card = replace(card, metadata=card.metadata | ({"datasets": list(datasets)} if datasets else {}))
    others = _model_files(artifact) if is_model else _dataset_files(artifact)
    files = [UploadFile(CARD_FILE, card.text.encode()), *others]
    private = private_texts(artifact)
    for file in files:
        _refuse_private(file, folder, private)
    return Upload(repo, "model" if is_model else "dataset", card, files)


def _model_files(artifact: Artifact) -> Iterator[UploadFile]:
    is_on_folder = "model.path" in artifact.manifest["inputs"]
    for output in artifact.manifest["outputs"]:
        folder, _, name = output.partition("/")
        if folder != _MODEL_FOLDER or name == CARD_FILE:
            continue
        path = artifact.path(output)
        has_base = is_on_folder and path.name == _ADAPTER_SETTINGS
        yield UploadFile(name, _without_base(path) if has_base else path)


def _without_base(path: Path) -> bytes:
    """Returns the settings of adapters without the folder of their base, which nobody else has.

    The model on the hub that this base was made from has other weights, with which the adapters would be wrong.
    """
    settings = json.loads(path.read_text(encoding="utf-8")) | {_ADAPTER_BASE: None}
    return json.dumps(settings, indent=2).encode()


def _dataset_files(artifact: Artifact) -> Iterator[UploadFile]:
    outputs = artifact.manifest["outputs"]
    return (UploadFile(name, artifact.path(name)) for name in _DATASET_FILES if name in outputs)


def private_texts(artifact: Artifact) -> dict[str, str]:
    """Returns what no uploaded file may hold, by what it is: folders of this machine, and keys of its environment."""
    folders = {"the home folder": Path.home(), "the folder of artefacts": artifact.directory.parents[1]}
    private = {
        name: f"{str(folder.absolute()).rstrip('/')}/" for name, folder in folders.items() if len(folder.parts) > 1
    }
    for name, value in os.environ.items():
        if any(part in name.upper() for part in _SECRET_NAMES) and len(value) >= _MIN_SECRET_CHARS:
            private[f"the value of {name}"] = value
    return private


def _refuse_private(file: UploadFile, folder: Path, private: Mapping[str, str]) -> None:
    """Raises InputError where a file holds a text that stays on this machine."""
    if file.name.endswith(_BINARY):
        return
    content = file.source if isinstance(file.source, bytes) else file.source.read_bytes()
    for name, text in private.items():
        forms = (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])  # as it is, and as in JSON
        start = max(content.find(form.encode()) for form in forms)
        if start >= 0:
            problem = f"holds {name}, which is not for the hub; nothing was uploaded. Make it anew without that."
            raise InputError.at(folder / file.name, problem, line=content.count(b"\n", 0, start) + 1)


def upload(plan: Upload, *, is_private: bool) -> str:
    """Uploads the files in one commit and returns its address; the repository is made if it is not there.

    Raises:
        InputError: When the hub cannot be reached or refuses it, or the repository is there and public although it
            is to be private, or has other weights.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, constants
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # exported by name at run time

    api = HfApi()
    operations = [
        CommitOperationAdd(file.name, file.source if isinstance(file.source, bytes) else str(file.source))
        for file in plan.files
    ]
    try:
        api.create_repo(plan.repo, repo_type=plan.repo_type, private=is_private, exist_ok=True)
        _check_repo(plan, api.repo_info(plan.repo, repo_type=plan.repo_type), is_private=is_private)
        message = f"Upload a {plan.repo_type} made with medssr"
        commit = api.create_commit(plan.repo, operations, commit_message=message, repo_type=plan.repo_type)
    except InputError:
        raise
    except (httpx.HTTPError, OSError, ValueError) as error:
        raise InputError(
            f"push: {constants.ENDPOINT} did not take {plan.repo}: {str(error).strip() or repr(error)} Log in with "
            "`hf auth login` or set HF_TOKEN, check the name, and start the same command again."
        ) from error
    return str(commit.commit_url)


def _check_repo(plan: Upload, there: Any, *, is_private: bool) -> None:
    """Raises InputError where a repository is public, or keeps weights that would be loaded in place of the new ones.

    Args:
        plan: What is to be uploaded.
        there: What the hub says of the repository.
        is_private: Whether it is to be private.
    """
    if is_private and not there.private:
        raise InputError(f"--private: {plan.repo} is there and public; nothing was uploaded. Take another name.")
    names = {file.name for file in plan.files}
    others = [each.rfilename for each in there.siblings or [] if each.rfilename not in names]
    if plan.repo_type == "model" and (weights := [name for name in others if name.endswith(_WEIGHTS)]):
        raise InputError(
            f"--repo: {plan.repo} has {', '.join(weights)}, which this model has not, and which would be loaded in its "
            "place; nothing was uploaded. Delete that on the hub, or take another name."
        )
