"""Reads questions from the replies of language models: schema, parser, and the conversation with one repair."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Collection, Sequence
from typing import Any

from medssr.llm.chat_protocol import Message
from medssr.llm.ledger import Reply
from medssr.questions import LETTERS, FieldError, Question
from medssr.synthesis.generators import Draft, Outcome, Rejection
from medssr.synthesis.plan import SynthesisRequest
from medssr.utils.seeding import derive_seed

_OBJECT = re.compile(r'\{\s*"')
# After so many beginnings of objects that are none, no other is looked for: each may take as long as the reply is.
_MOST_BROKEN = 100


class ReplyError(ValueError):
    """The reply does not hold what was asked for; the message says what is wrong, in words that a model can act on."""


def question_schema(num_options: int) -> dict[str, Any]:
    """Returns the JSON schema of a reply: what `parse_reply` reads, with options lettered from A."""
    text = {"type": "string"}
    letters = list(LETTERS[:num_options])
    options = {
        "type": "object",
        "properties": dict.fromkeys(letters, text),
        "required": letters,
        "additionalProperties": False,
    }
    return {
        "title": "question",
        "type": "object",
        "properties": {"question": text, "options": options},
        "required": ["question", "options"],
        "additionalProperties": False,
    }


def write_reply(stem: str, options: Sequence[str]) -> str:
    """Returns a reply as models are asked for it, with the options lettered in their order.

    Example:
        >>> write_reply("Which organ?", ["liver", "heart"])
        '{"question": "Which organ?", "options": {"A": "liver", "B": "heart"}}'
    """
    lettered = dict(zip(LETTERS, options, strict=False))
    return json.dumps({"question": stem, "options": lettered}, ensure_ascii=False)


def parse_reply(reply: str) -> tuple[str, dict[str, str]]:
    r"""Returns stem and options of the last JSON object in the reply that has "question" and "options".

    Text around the object, such as a ```json fence or a preceding thought, is passed over.

    Raises:
        ReplyError: When there is no such object, or it breaks a rule of questions.

    Example:
        >>> parse_reply('Here it is: {"question": "Which organ?", "options": {"A": "liver", "B": "heart"}}')
        ('Which organ?', {'A': 'liver', 'B': 'heart'})
    """
    record = last_object(reply, ("question", "options"))
    stem, options = record["question"], record["options"]
    try:
        question = Question("reply", stem, options, answer=None, source="reply")
    except FieldError as error:
        field = "question" if error.field == "stem" else error.field
        raise ReplyError(f'Field "{field}": {error.problem}') from error
    try:
        "".join([stem, *options.values()]).encode()
    except UnicodeEncodeError as error:
        raise ReplyError("The text holds half of a surrogate pair, which is no character.") from error
    return question.stem.strip(), {letter: text.strip() for letter, text in question.options.items()}


def last_object(reply: str, fields: Collection[str]) -> dict[str, Any]:
    """Returns the last JSON object in the reply that has all the fields.

    Raises:
        ReplyError: When there is none.
    """
    decoder = json.JSONDecoder()
    last: dict[str, Any] | None = None
    first_problem: str | None = None
    num_broken, end = 0, 0
    # Other braces, such as those of formulas, begin no object; the first of them says what is wrong where none does.
    for start in [match.start() for match in _OBJECT.finditer(reply)] or [reply.find("{")]:
        if start < end or num_broken == _MOST_BROKEN:
            continue
        try:
            value, end = decoder.raw_decode(reply, start)
        except (ValueError, RecursionError) as error:  # a number of ten thousand digits is no JSONDecodeError
            first_problem = first_problem or f"The JSON is broken: {error}."
            num_broken += 1
        else:
            if value.keys() >= set(fields):
                last = value
    if last is None:
        shown = " and ".join(f'"{name}"' for name in fields)
        raise ReplyError(first_problem or f"There is no JSON object with the fields {shown}.")
    return last


def repair_messages(reply: str, problem: str) -> list[Message]:
    """Returns what to send after a reply that cannot be read: the reply, and what is wrong about it."""
    request = f"This cannot be read: {problem} Reply with the corrected JSON object and nothing else."
    return [{"role": "assistant", "content": reply}, {"role": "user", "content": request}]


_MAX_REPLIES = 2


class Conversation:
    """The messages to a model about one request, until there is an outcome.

    A reply that is no question is shown to the model once, with what is wrong about it.

    Attributes:
        request: What was asked for.
        messages: What to send.

    Args:
        request: What is asked for.
        model: The model's name, for the provenance.
    """

    def __init__(self, request: SynthesisRequest, model: str) -> None:
        self.request = request
        self.messages: list[Message] = [{"role": "user", "content": request.prompt}]
        self._model = model
        self._replies: list[Reply] = []

    @property
    def purpose(self) -> list[str | int]:
        """The key of the next call in the ledger."""
        return ["synthesis", self.request.draw.slot, self.request.draw.attempt, len(self._replies)]

    def take(self, reply: Reply) -> Outcome | None:
        """Returns the outcome of the reply, or None after it has added a repair request to the messages to send."""
        self._replies.append(reply)
        if reply.outcome != "answer" or reply.text is None:
            return Rejection(reply.outcome, reply.why_unusable, reply.is_transient)
        try:
            stem, options = parse_reply(reply.text)
        except ReplyError as error:
            if len(self._replies) == _MAX_REPLIES:
                return Rejection("unparsable", str(error))
            self.messages += repair_messages(reply.text, str(error))
            return None
        return self._draft(stem, options)

    def _draft(self, stem: str, options: dict[str, str]) -> Draft:
        """Returns the question with its options in an order drawn by the request's seed.

        Models put the right option first, or second, more often than chance.
        """
        texts = list(options.values())
        random.Random(derive_seed(self.request.draw.rng_seed, "options")).shuffle(texts)
        entity = self.request.draw.entity
        name, is_rare = (None, None) if entity is None else (entity.name, entity.is_rare)
        details: dict[str, Any] = {
            "model": self._model,
            "num_calls": len(self._replies),
            "prompt_tokens": sum(reply.prompt_tokens for reply in self._replies),
            "completion_tokens": sum(reply.completion_tokens for reply in self._replies),
        }
        return Draft(stem, dict(zip(options, texts, strict=True)), name, is_rare, truth=None, details=details)
