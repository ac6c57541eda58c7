"""Several question files as one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medssr.questions import read_questions, write_questions
from medssr.utils.files import hash_file


def mix_questions(paths: Sequence[Path], folder: Path) -> Path:
    """Returns a file in `folder` with the questions of all files, named by their content.

    Ids get the place of their file as a prefix, so that they stay unique.
    """
    name = hashlib.sha256("\n".join(hash_file(path) for path in paths).encode()).hexdigest()[:16]
    mixed = folder / f"{name}.jsonl"
    if not mixed.is_file():
        write_questions(
            mixed,
            (
                replace(question, id=f"{place}-{question.id}")
                for place, path in enumerate(paths)
                for question in read_questions(path)
            ),
        )
    return mixed
