"""A generator behind any OpenAI-compatible address: a hosted API, or a vLLM server of one's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from medssr.synthesis.chat_client import ChatClient, ChatSettings
from medssr.synthesis.generators import Outcome, Rejection, SynthesisRequest
from medssr.synthesis.ledger import Reply
from medssr.synthesis.replies import ReplyError, question_schema, read_draft, repair_messages


@dataclass(frozen=True, kw_only=True)
class OpenAIGenerator(ChatSettings):
    """Sends each prompt to a chat-completions server and reads the question from its answer.

    An answer that is no question is shown to the model once with what is wrong about it.

    Attributes:
        num_options: Options of a question.
    """

    name: ClassVar[str] = "openai"

    num_options: int

    def generate(self, requests: Iterable[SynthesisRequest]) -> Iterator[tuple[SynthesisRequest, Outcome]]:
        """Yields each request with its question or a rejection.

        The reasons are those of the ledger (refusal, empty_response, truncated, malformed_response, timeout,
        connection, api_error, invalid_request) and unparsable.

        Raises:
            InputError: As `ChatClient.ask`. What was answered before is in the ledger.
        """
        return self._client.ask_all(self._outcome, requests)

    def usage(self) -> dict[str, Any]:
        """Returns how many answers were used so far, and what they cost."""
        return self._client.usage()

    def close(self) -> None:
        """Closes connections and ledger."""
        self._client.close()

    @cached_property
    def _client(self) -> ChatClient:
        return ChatClient(self, "openai.jsonl")

    def _outcome(self, request: SynthesisRequest) -> Outcome:
        """Returns the question of the first answer, or of its repair, or why there is none."""
        messages = [{"role": "user", "content": request.prompt}]
        replies: list[Reply] = []
        problem = ""
        for repair in (0, 1):
            purpose: list[str | int] = ["synthesis", request.draw.slot, request.draw.attempt, repair]
            reply = self._client.ask(purpose, messages, request.draw.rng_seed, question_schema(self.num_options))
            replies.append(reply)
            if reply.outcome != "answer" or reply.text is None:
                return Rejection(reply.outcome, reply.error or reply.text or "", reply.is_transient)
            try:
                return read_draft(request, reply.text, self._details(replies))
            except ReplyError as error:
                problem = str(error)
                messages = [*messages, *repair_messages(reply.text, problem)]
        return Rejection("unparsable", problem)

    def _details(self, replies: list[Reply]) -> dict[str, Any]:
        return {
            "model": self.model,
            "num_calls": len(replies),
            "prompt_tokens": sum(reply.prompt_tokens for reply in replies),
            "completion_tokens": sum(reply.completion_tokens for reply in replies),
        }
