"""Artefacts of a step that writes a model and questions, and of one that reads such files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medssr.artifacts import Step
from medssr.manifests import Artifact

MODEL_BYTES = 3_000_000  # so many that the hash is kept


@dataclass
class MakeConfig:
    size: int = 1


@dataclass
class UseConfig:
    """The configuration of a step that reads a file of another artefact."""

    path: str


def build(directory: Path) -> dict[str, int]:
    (directory / "model").mkdir(exist_ok=True)
    (directory / "model" / "weights.bin").write_bytes(b"w" * MODEL_BYTES)
    (directory / "questions.jsonl").write_text('{"id": 1}\n{"id": 2}\n')
    (directory / "sheet.csv").write_text("id,verdict\n1,\n")
    (directory / ".questions.jsonl.7.tmp").write_text('{"id"')  # of a process that was killed
    (directory / "checkpoints").mkdir(exist_ok=True)
    (directory / "checkpoints" / "step_1.ckpt").write_text("state")
    return {}


def make(folder: Path, **attributes) -> Artifact:
    return Step("make", MakeConfig(), folder, left_to_users=("sheet.csv",), **attributes).run(build)


def use(path: Path, folder: Path, **attributes) -> Artifact:
    return Step("use", UseConfig(str(path)), folder, **attributes).run(lambda directory: {})


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
