"""Hints that a larger model writes, which is told the answer (KEPO, arXiv 2602.00400)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from medssr.answers.cleaned_text import without_thinking
from medssr.errors import require
from medssr.grpo.hints import Hints
from medssr.grpo.peers import with_permuted_ids
from medssr.llm.chat_client import ChatModel
from medssr.questions import Question, render_question
from medssr.synthesis.prompts import fill_template, load_template, unfence
from medssr.text.words import words_key
from medssr.utils.processes import from_first_process
from medssr.utils.progress import Progress
from medssr.utils.seeding import derive_seed

log = logging.getLogger(__name__)

# Questions between two exchanges of all processes, which wait for the first one's calls half an hour at most.
_BATCH = 256
_IS_HINT = "hint"


@dataclass(frozen=True, kw_only=True)
class TeacherHints(ChatModel):
    """A chat model that writes a hint for each question of a stage before the training.

    In the published code it is asked only when all completions are wrong; here the longest prompt has to be known when
    an engine is made. A hint that names the right option is left out: copying it would earn the reward.

    Attributes:
        num_completions: The number of completions with the hint.
        max_characters: The greatest length of a hint; longer ones are cut.
        prompt_path: A Jinja template with the variables `question` (stem and lettered options), `letter` and `answer`
            (the text of the right option).
    """

    group: ClassVar[str] = "grpo.hints"
    ledger_name: ClassVar[str] = "hints.jsonl"

    num_completions: int
    max_characters: int
    prompt_path: Path | str

    def __post_init__(self) -> None:
        """Checks the ranges."""
        ChatModel.__post_init__(self)
        for name in ("num_completions", "max_characters"):
            value = getattr(self, name)
            require(isinstance(value, int) and value >= 1, f"grpo.hints.{name}", f"{value!r}; at least 1.")

    def hints(self, questions: Sequence[Question]) -> Hints:
        """Returns the hints of those labelled questions for which the model wrote one; every process has to call it.

        The first process asks; what it was answered before is in the ledger.

        Raises:
            InputError: As `ChatClient.ask`, or when the template cannot be read or filled.
        """
        template = load_template(self.prompt_path, f"{self.group}.prompt_path")
        labelled = [question for question in questions if question.answer is not None]
        written: list[_Written] = []
        with closing(self), Progress("hints", len(labelled), "questions") as progress:
            for start in range(0, len(labelled), _BATCH):
                batch = labelled[start : start + _BATCH]
                written += from_first_process(partial(self._write, template, batch))
                progress.advance(len(batch))
        outcomes = Counter(each.outcome for each in written)
        log.info(
            "hints of %s: %s", self.model, ", ".join(f"{number} {name}" for name, number in outcomes.most_common())
        )
        texts = {each.question_id: each.text[: self.max_characters] for each in written if each.outcome == _IS_HINT}
        return Hints(self.num_completions, with_permuted_ids(texts))

    def _write(self, template: str, questions: Sequence[Question]) -> list[_Written]:
        return [hint for _, hint in self._client.ask_all(partial(self._ask, template), questions)]

    def _ask(self, template: str, question: Question) -> _Written:
        messages = [{"role": "user", "content": hint_prompt(template, question)}]
        reply = self._client.ask(["hint", question.id], messages, derive_seed("hint", question.id))
        if reply.outcome != "answer" or reply.text is None:
            return _Written(question.id, "", reply.outcome)
        text = (without_thinking(reply.text) or "").strip()
        outcome = outcome_of_hint(text, question)
        self._client.note_use(reply, None if outcome == _IS_HINT else f"The hint has the outcome: {outcome}.")
        return _Written(question.id, text, outcome)


@dataclass(frozen=True, slots=True)
class _Written:
    """What the model wrote for a question.

    Attributes:
        question_id: The question.
        text: The hint, as far as there is one.
        outcome: "hint", or why there is none.
    """

    question_id: str
    text: str
    outcome: str


def hint_prompt(template: str, question: Question) -> str:
    """Returns what the model is asked about a labelled question."""
    assert question.answer is not None
    values = {
        "question": unfence(render_question(question)),
        "letter": question.answer,
        "answer": unfence(question.options[question.answer]),
    }
    return fill_template(template, values)


def outcome_of_hint(text: str, question: Question) -> str:
    """Returns "hint", or why a text is none: it is empty, or has the words of the right option.

    Example:
        >>> question = Question("q", "Which organ?", {"A": "the liver", "B": "heart"}, "B", "example")
        >>> [outcome_of_hint(text, question) for text in ("It pumps.", "The Heart pumps.", "")]
        ['hint', 'names the answer', 'empty']
    """
    assert question.answer is not None
    if not text:
        return "empty"
    words, right = words_key(text), words_key(question.options[question.answer])
    return "names the answer" if f" {right} " in f" {words} " else _IS_HINT
