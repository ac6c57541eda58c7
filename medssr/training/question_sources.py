"""The questions of a training stage, from one file or from several at a set ratio, each with its own rewards."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from medssr.config import TrainDataConfig
from medssr.questions import Question
from medssr.rewards.labels import read_training_questions


@dataclass(frozen=True, slots=True)
class QuestionSource:
    """The questions of one file.

    Attributes:
        path: The file.
        questions: Its questions.
        num_prompts: The number of its questions in each step; None for the rest of the step.
        rewards: The names of the rewards of its questions.
    """

    path: str
    questions: list[Question]
    num_prompts: int | None
    rewards: Collection[str]


def read_sources(data: TrainDataConfig, rewards: Mapping[str, Any]) -> dict[str, QuestionSource]:
    """Returns the sources of a stage by name; the first one, whose name is empty, is that of `data.path`.

    The ids of a further source's questions get its name as a prefix, so that ids stay unique.

    Args:
        data: The files, with the names of the rewards of each.
        rewards: The configurations of all rewards by name.

    Raises:
        InputError: When a file cannot be read, or a label is missing that a reward of its questions reads.
    """

    def read(path: str, names: Sequence[str] | None, num_prompts: int | None, prefix: str = "") -> QuestionSource:
        chosen = list(rewards) if names is None else names
        questions = read_training_questions(path, {name: rewards[name] for name in chosen})
        if prefix:
            questions = [replace(question, id=f"{prefix}/{question.id}") for question in questions]
        return QuestionSource(path, questions, num_prompts, chosen)

    further = {
        name: read(source.path, source.rewards, source.num_prompts, name) for name, source in data.further.items()
    }
    return {"": read(data.path, data.rewards, None), **further}


def reward_names(sources: Mapping[str, QuestionSource]) -> dict[str, Collection[str]]:
    """Returns the names of the rewards of each question, by its id."""
    return {question.id: source.rewards for source in sources.values() for question in source.questions}


def kept(
    sources: Mapping[str, QuestionSource], keep: Callable[[list[Question]], list[Question]]
) -> dict[str, QuestionSource]:
    """Returns the sources with the questions that `keep` returns of each."""
    return {name: replace(source, questions=keep(source.questions)) for name, source in sources.items()}
