"""The prompts of a protocol: template, solved examples, chat or plain, and how its answers begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medssr.benchmarks.reader import load_benchmark
from medssr.config import ProtocolConfig
from medssr.errors import InputError
from medssr.models.prompts import render_chat
from medssr.questions import Question, render_question
from medssr.text.words import words_key


@dataclass(frozen=True, slots=True)
class Prompter:
    """Makes the text that a model continues.

    Attributes:
        template: The text of a prompt template, with `{question}`.
        shots: Solved questions in front of each prompt, as turns of a conversation where the tokenizer has a chat
            template, else one below the other.
        tokenizer: Its chat template, or that it has none, decides the form; nothing else does.
    """

    template: str
    shots: tuple[Question, ...]
    tokenizer: Any

    @property
    def form(self) -> str:
        """Returns "chat" for turns of a conversation, "plain" for text alone."""
        return "plain" if self.tokenizer.chat_template is None else "chat"

    def text(self, question: Question) -> str:
        """Returns the prompt of a question, up to where its answer begins."""
        messages = []
        for shot in self.shots:
            messages += [self._turn("user", shot), {"role": "assistant", "content": f"The answer is {shot.answer}."}]
        return render_chat([*messages, self._turn("user", question)], self.tokenizer)

    def _turn(self, role: str, question: Question) -> dict[str, str]:
        return {"role": role, "content": self.template.replace("{question}", render_question(question))}


def choose_shots(protocol: ProtocolConfig, asked: Sequence[Question]) -> tuple[Question, ...]:
    """Returns the first solved questions of a protocol's file whose stems are not among those that are asked.

    Raises:
        InputError: When the file cannot be read or has too few of them.
    """
    if protocol.num_shots == 0:
        return ()
    assert protocol.shots_path is not None
    stems = {words_key(question.stem) for question in asked}
    unasked = [question for question in load_benchmark(protocol.shots_path) if words_key(question.stem) not in stems]
    if len(unasked) < protocol.num_shots:
        raise InputError.at(
            Path(protocol.shots_path),
            f"has {len(unasked)} questions that are not asked themselves; protocol.num_shots is {protocol.num_shots}.",
            field="protocol.shots_path",
        )
    return tuple(unasked[: protocol.num_shots])
