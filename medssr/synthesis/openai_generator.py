"""A generator behind any OpenAI-compatible address: a hosted API, or a vLLM server of one's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from medssr.llm.chat_client import ChatModel
from medssr.synthesis.generators import Outcome, SynthesisRequest
from medssr.synthesis.replies import Conversation, question_schema


@dataclass(frozen=True, kw_only=True)
class OpenAIGenerator(ChatModel):
    """Sends each prompt to a chat-completions server and reads the question from its answer.

    An answer that is no question is shown to the model once with what is wrong about it.

    Attributes:
        num_options: Options of a question.
    """

    name: ClassVar[str] = "openai"
    ledger_name: ClassVar[str] = "openai.jsonl"

    num_options: int

    def generate(self, requests: Iterable[SynthesisRequest]) -> Iterator[tuple[SynthesisRequest, Outcome]]:
        """Yields each request with its question or a rejection.

        The reasons are those of the ledger (refusal, empty_response, truncated, malformed_response, timeout,
        connection, api_error, invalid_request) and unparsable.

        Raises:
            InputError: As `ChatClient.ask`. What was answered before is in the ledger.
        """
        return self._client.ask_all(self._outcome, requests)

    def _outcome(self, request: SynthesisRequest) -> Outcome:
        conversation = Conversation(request, self.model)
        schema = question_schema(self.num_options)
        outcome = None
        while outcome is None:
            seed = request.draw.rng_seed
            outcome = conversation.take(self._client.ask(conversation.purpose, conversation.messages, seed, schema))
        return outcome
