"""Demonstrations for supervised fine-tuning: a prompt and the completion to imitate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from medssr.errors import shown
from medssr.models.prompts import PromptInput, prompt_text
from medssr.questions import open_questions, read_labelled_questions


@dataclass(frozen=True, slots=True)
class Demonstration:
    """What is asked, and a completion to imitate."""

    asked: PromptInput
    completion: str


class Demonstrations(Protocol):
    """Where demonstrations come from.

    Attributes:
        source: What messages call it.
    """

    source: str

    def draw(self, seed: int) -> list[Demonstration]:
        """Returns the demonstrations; whatever is random in them derives from the seed."""
        ...


class FileDemonstrations:
    """The demonstrations of a question file of any form whose records have a field `completion` as well.

    Args:
        path: The file.
    """

    def __init__(self, path: Path | str) -> None:
        self.source = str(path)

    def draw(self, seed: int) -> list[Demonstration]:
        """Returns them in the order of the file.

        Raises:
            InputError: As for question files, or when a completion is missing.
        """
        demonstrations = []
        for record, question in open_questions(self.source).items(beside="completion"):
            completion = record.value.get("completion")
            if not isinstance(completion, str) or not completion.strip():
                raise record.error(f"expected a text, found {shown(completion)}.", "completion")
            demonstrations.append(Demonstration(question, completion))
        return demonstrations


class LabelDemonstrations:
    """Labelled questions, each with the sentence that names its label: fine-tuning without reasoning.

    Args:
        path: A file of labelled questions.
    """

    def __init__(self, path: Path | str) -> None:
        self.source = str(path)

    def draw(self, seed: int) -> list[Demonstration]:
        """Returns them in the order of the file.

        Raises:
            InputError: As for question files, or when a label is missing.
        """
        questions = read_labelled_questions(self.source)
        return [Demonstration(question, f"The answer is {question.answer}.") for question in questions]


def demonstrated_texts(demonstrations: Sequence[Demonstration], prompt_template: str) -> list[str]:
    """Returns the turns of the demonstrations, for training a tokenizer on them."""
    texts = []
    for demonstration in demonstrations:
        content = prompt_text(demonstration.asked, prompt_template)
        texts.append("\n".join(["user", content, "assistant", demonstration.completion]))
    return texts
