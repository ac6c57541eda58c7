"""One request's conversation with a language model: the prompt, its reply, and one repair of it."""

from __future__ import annotations

import random
from typing import Any

from medssr.synthesis.chat_protocol import Message
from medssr.synthesis.generators import Draft, Outcome, Rejection, SynthesisRequest
from medssr.synthesis.ledger import Reply
from medssr.synthesis.replies import ReplyError, parse_reply, repair_messages
from medssr.utils.seeding import derive_seed

_MOST_REPLIES = 2


class Conversation:
    """What to ask a model next for a request, until there is an outcome.

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
        """Names the next call."""
        return ["synthesis", self.request.draw.slot, self.request.draw.attempt, len(self._replies)]

    def take(self, reply: Reply) -> Outcome | None:
        """Returns what comes of the reply, or None when the messages are to be sent again, with the repair in them."""
        self._replies.append(reply)
        if reply.outcome != "answer" or reply.text is None:
            return Rejection(reply.outcome, reply.error or reply.text or "", reply.is_transient)
        try:
            stem, options = parse_reply(reply.text)
        except ReplyError as error:
            if len(self._replies) == _MOST_REPLIES:
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
