"""Which rewards read the labels of questions, and the questions of a training, which need labels only for these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medssr.errors import InputError
from medssr.questions import Question, read_labelled_questions, read_questions
from medssr.rewards.isolation import is_trusted
from medssr.rewards.scoring import Reward, traits_of
from medssr.utils.instantiate import target_of


def read_training_questions(path: Path | str, nodes: Mapping[str, Any]) -> list[Question]:
    """Returns the questions of a file, all of which have a label if a reward of this package reads it.

    A reward of a user says only in its own process whether it does: `require_labels`.

    Args:
        path: The question file.
        nodes: The configurations of the rewards by name.

    Raises:
        InputError: When the file cannot be read, or a label is missing.
    """
    targets = {name: str(node["_target_"]) for name, node in nodes.items() if is_trusted(node)}
    reads_labels = any(
        not traits_of(target_of(target, f"reward.{name}")).is_label_free for name, target in targets.items()
    )
    return read_labelled_questions(path) if reads_labels else list(read_questions(path))


def require_labels(rewards: Mapping[str, Reward], questions: Sequence[Question], source: str) -> None:
    """Raises InputError when a reward reads labels, and a question has none.

    Args:
        rewards: Rewards by name.
        questions: The questions to train on.
        source: Their file, for messages.
    """
    readers = [name for name, reward in rewards.items() if not traits_of(reward).is_label_free]
    unlabelled = next((question.id for question in questions if question.answer is None), None)
    if readers and unlabelled is not None:
        raise InputError(
            f'{source}: question "{unlabelled}" has no label, which reward.{readers[0]} may read; run '
            "medssr-pseudo-label on the file first, or set is_label_free = True in the class if it reads no label."
        )
