"""The forms of files of reasoning traces: which fields hold what is asked, the reasoning and the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from medssr.errors import require, shown
from medssr.questions.gold import Option
from medssr.questions.lettered_text import LETTERS, lone_letter, parse_lettered_text
from medssr.questions.option_fields import Field
from medssr.questions.record import FieldError
from medssr.utils.records import Record

# What datasets call the parts of a turn, and the roles of those who ask and who answer.
_ROLE_FIELDS, _CONTENT_FIELDS = ("role", "from"), ("content", "value")
_ASKING, _ANSWERING, _SYSTEM = ("user", "human"), ("assistant", "gpt", "model"), ("system", "developer")


class Fault(StrEnum):
    """Why a trace is left out."""

    empty = "empty"  # no text is asked, or none answers
    several_turns = "several_turns"  # a conversation of more than one question and its answer
    unfinished_thinking = "unfinished_thinking"  # the reasoning begins and never ends
    wrong_answer = "wrong_answer"  # the last answer is another letter than the known one
    in_benchmark = "in_benchmark"  # it repeats a question of a benchmark
    too_long = "too_long"  # it has more tokens than fine-tuning takes


@dataclass(frozen=True, slots=True)
class Trace:
    """One reasoning trace.

    Attributes:
        stem: What is asked, without options that can be read.
        options: The options by letter; empty where there are none, or none can be read.
        asked: The text that asks, as the file has it, options included.
        reasoning: The reasoning before the answer; None where the file does not tell it from the answer.
        answer: The answer.
        label: The letter of the right option; None where it is unknown.
    """

    stem: str
    options: dict[str, str]
    asked: str
    reasoning: str | None
    answer: str
    label: str | None


class TraceForm(Protocol):
    """The form of a file of traces."""

    def read(self, record: Record) -> Trace | Fault:
        """Returns the trace of a record, or why it is left out.

        Raises:
            InputError: When a field is missing or of the wrong type.
        """
        ...


class FieldsForm:
    """Question, reasoning and answer each in a field of its own, or prompt and completion.

    Args:
        question: The field of the question.
        answer: The field of the answer, or of the whole completion.
        reasoning: The field of the reasoning; None where the answer has it in it.
        options: The field of the options (by letter, a list, or lettered lines); None where the question ends in them,
            or has none.
        label: The field of the letter of the right option; None without one.
        tags: How the reasoning begins and ends within the answer; None where it is not marked.
    """

    def __init__(
        self,
        question: str,
        answer: str,
        reasoning: str | None = None,
        options: str | None = None,
        label: str | None = None,
        tags: Sequence[str] | None = None,
    ) -> None:
        self._question, self._answer, self._reasoning = question, answer, reasoning
        self._options, self._label, self._tags = options, label, _checked(tags)

    def read(self, record: Record) -> Trace | Fault:
        """Returns the trace of a record, or why it is left out."""
        asked, answer = _text(record, self._question), _text(record, self._answer)
        reasoning = None if self._reasoning is None else _text(record, self._reasoning)
        options = [] if self._options is None else _options(record, self._options)
        return _trace(asked, options, reasoning, answer, _label(record, self._label), self._tags)


class ChatForm:
    """A conversation in one field: a list of turns with `role` and `content`, or `from` and `value`.

    The system's turn is left out, because neither training by rewards nor evaluation has one.

    Args:
        messages: The field of the conversation.
        reasoning: The field of the answering turn with its reasoning; None where its text has it in it.
        label: The field of the record with the letter of the right option; None without one.
        tags: How the reasoning begins and ends within the answer; None where it is not marked.
    """

    def __init__(
        self,
        messages: str,
        reasoning: str | None = None,
        label: str | None = None,
        tags: Sequence[str] | None = None,
    ) -> None:
        self._messages, self._reasoning = messages, reasoning
        self._label, self._tags = label, _checked(tags)

    def read(self, record: Record) -> Trace | Fault:
        """Returns the trace of a record, or why it is left out."""
        turns = _value(record, self._messages)
        if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
            raise record.error(f"found {shown(turns)}, expected a list of turns.", self._messages)
        turns = [turn for turn in turns if _role(record, turn, self._messages) != "system"]
        if [_role(record, turn, self._messages) for turn in turns] != ["user", "assistant"]:
            return Fault.several_turns if len(turns) > 1 else Fault.empty
        asked, answer = (_content(record, turn, self._messages) for turn in turns)
        reasoning = None if self._reasoning is None else turns[1].get(self._reasoning)
        if reasoning is not None and not isinstance(reasoning, str):
            raise record.error(f"{self._reasoning}: {shown(reasoning)}; expected a text.", self._messages)
        return _trace(asked, [], reasoning, answer, _label(record, self._label), self._tags)


def split_thinking(text: str, tags: Sequence[str]) -> tuple[str | None, str] | None:
    r"""Returns the reasoning and the answer of a text; None where the reasoning begins and never ends.

    A text that ends its reasoning without having begun it was begun by the prompt. The reasoning is None where a text
    has neither mark.

    Args:
        text: The text.
        tags: How the reasoning begins and ends.

    Example:
        >>> split_thinking("<think>\nIt is B.\n</think>\nB", ["<think>", "</think>"])
        ('It is B.', 'B')
    """
    begin, end = tags
    before, is_begun, rest = text.partition(begin)
    if not is_begun:
        before, rest = "", text
    thought, is_ended, answer = rest.partition(end)
    if not is_ended:
        return None if is_begun else (None, text.strip())
    return thought.strip(), "\n\n".join(part for part in (before.strip(), answer.strip()) if part)


def join_thinking(reasoning: str | None, answer: str, tags: Sequence[str] | None) -> str:
    r"""Returns a completion: the reasoning between its tags and the answer behind it; without tags, both as paragraphs.

    Example:
        >>> join_thinking("It is B.", "B", ["<think>", "</think>"])
        '<think>\nIt is B.\n</think>\n\nB'
    """
    if not reasoning:
        return answer
    return f"{reasoning}\n\n{answer}" if tags is None else f"{tags[0]}\n{reasoning}\n{tags[1]}\n\n{answer}"


def _trace(
    asked: str,
    options: Sequence[Option],
    reasoning: str | None,
    answer: str,
    label: str | None,
    tags: Sequence[str] | None,
) -> Trace | Fault:
    if tags is not None:
        parts = split_thinking(answer, tags)
        if parts is None:
            return Fault.unfinished_thinking
        within, answer = parts
        reasoning = reasoning or within
    reasoning = (reasoning or "").strip() or None
    asked, answer = asked.strip(), answer.strip()
    if not asked or not answer:
        return Fault.empty
    stem, by_letter = asked, dict(zip(LETTERS, (option.text for option in options), strict=False))
    if by_letter:
        asked = "\n".join([stem, *(f"{letter}. {text}" for letter, text in by_letter.items())])
    else:
        stem, by_letter = _without_options(asked)
    return Trace(stem, by_letter, asked, reasoning, answer, label if label in by_letter else None)


def _without_options(asked: str) -> tuple[str, dict[str, str]]:
    """Returns the stem and the options of a text; the whole text and no options where it does not end in any."""
    try:
        stem, options = parse_lettered_text(asked)
    except ValueError:
        return asked, {}
    return (stem, options) if stem and all(options.values()) else (asked, {})


def _checked(tags: Sequence[str] | None) -> Sequence[str] | None:
    problem = f"{tags}; expected two texts, such as [<think>, </think>], or null."
    require(tags is None or (len(tags) == 2 and all(tags)), "demonstrations, tags", problem)
    return tags


def _value(record: Record, name: str) -> Any:
    if name not in record.value:
        fields = ", ".join(map(str, record.value)) or "no field"
        raise record.error(f"is missing; found {fields}. Name the field in demonstrations.form.", name)
    return record.value[name]


def _text(record: Record, name: str) -> str:
    value = _value(record, name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise record.error(f"expected a text, found {shown(value)}.", name)
    return value


def _options(record: Record, name: str) -> list[Option]:
    """Returns the options in a field; none where it is empty, as for questions without any."""
    value = record.value.get(name)
    if value is None or value in ("", [], {}):
        return []
    try:
        return Field(name).read(record.value, (name,))[: len(LETTERS)]
    except FieldError as error:
        raise record.error(error.problem, error.field) from error


def _label(record: Record, name: str | None) -> str | None:
    """Returns the letter in a field; None where it is empty or no letter."""
    value = None if name is None else _value(record, name)
    return lone_letter(value) if isinstance(value, str) else None


def _first(turn: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((turn[name] for name in names if turn.get(name) is not None), None)


def _role(record: Record, turn: Mapping[str, Any], field: str) -> str:
    """Returns who speaks in a turn: user, assistant or system."""
    role = _first(turn, _ROLE_FIELDS)
    for name, names in (("user", _ASKING), ("assistant", _ANSWERING), ("system", _SYSTEM)):
        if role in names:
            return name
    expected = ", ".join((*_ASKING, *_ANSWERING, *_SYSTEM))
    raise record.error(f"a turn has the role {shown(role)}; expected one of {expected}.", field)


def _content(record: Record, turn: Mapping[str, Any], field: str) -> str:
    content = _first(turn, _CONTENT_FIELDS)
    if content is None:
        return ""
    if not isinstance(content, str):
        raise record.error(f"a turn has the content {shown(content)}; expected a text.", field)
    return content
