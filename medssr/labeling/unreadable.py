"""Counts the answers without a letter, and says what they look like and what to change when most are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

_NUM_EXAMPLES = 3
# Enough answers to say that most of a model's answers have no letter.
_NUM_ENOUGH = 48
# Characters of an example: its beginning shows the form, its end whether it stopped in the middle.
_LONGEST_EXAMPLE = 240
_LENGTH_OF_END = 80


class ReadAnswer(Protocol):
    """An answer as the extractor read it."""

    @property
    def text(self) -> str:
        """The completion."""

    @property
    def letter(self) -> str | None:
        """The extracted option, or None."""

    @property
    def is_truncated(self) -> bool:
        """Whether the completion was truncated."""


class UnreadableAnswers:
    """The answers without a letter among all answers of a run.

    Args:
        max_new_tokens: The maximum length of an answer, for the advice.

    Attributes:
        num_answers: All answers.
        num_unreadable: Those without a letter.
        num_truncated: Those of them that were truncated.
    """

    def __init__(self, max_new_tokens: int) -> None:
        self._max_new_tokens = max_new_tokens
        self._examples: list[str] = []
        self.num_answers = self.num_unreadable = self.num_truncated = 0

    def add(self, answers: Sequence[ReadAnswer]) -> None:
        """Counts the answers to one question."""
        unreadable = [answer for answer in answers if answer.letter is None]
        self.num_answers += len(answers)
        self.num_unreadable += len(unreadable)
        self.num_truncated += sum(answer.is_truncated for answer in unreadable)
        # One of each question, because the answers to one question are alike.
        if unreadable and len(self._examples) < _NUM_EXAMPLES:
            state = "truncated" if unreadable[0].is_truncated else "complete"
            self._examples.append(f"{visible(unreadable[0].text)} ({state})")

    @property
    def is_certain(self) -> bool:
        """Whether enough answers were counted to say so before the end of the run."""
        return self.num_answers >= _NUM_ENOUGH

    @property
    def valid_share(self) -> float:
        """The fraction of answers with a letter; 0 without an answer."""
        return 1 - self.num_unreadable / self.num_answers if self.num_answers else 0.0

    def warning(self) -> str | None:
        """Returns what is wrong, examples, and what to change when most answers have no letter, else None."""
        if 2 * self.num_unreadable <= self.num_answers:
            return None
        share = f"{self.num_unreadable} of {self.num_answers} ({100 * self.num_unreadable / self.num_answers:.1f}%)"
        return "\n".join(
            [
                f"MOST ANSWERS HAVE NO LETTER: {share}. For example:",
                *(f"  {number}. {example}" for number, example in enumerate(self._examples, start=1)),
                self._advice(),
            ]
        )

    def _advice(self) -> str:
        truncated = f"{self.num_truncated} of these {self.num_unreadable} answers were truncated"
        if 2 * self.num_truncated >= self.num_unreadable:
            return f"{truncated}: raise labeling.max_new_tokens (now {self._max_new_tokens})."
        return (
            f"{truncated}; the model does not answer in a form that can be read. Change the prompt "
            '(model.prompt_path), so that answers end with "The answer is B", or take a model whose tokenizer has the '
            "chat template that it was trained with."
        )


def visible(text: str) -> str:
    r"""Returns a text in quotes, on one line and of limited length, with control characters as escape sequences.

    Example:
        >>> print(visible("The\tanswer\n\u200bis"))
        "The\tanswer\n\u200bis"
    """
    if len(text) > _LONGEST_EXAMPLE:
        text = f"{text[: _LONGEST_EXAMPLE - _LENGTH_OF_END]} ... {text[-_LENGTH_OF_END:]}"
    characters = (char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
    return f'"{"".join(characters)}"'
