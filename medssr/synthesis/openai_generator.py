"""A generator behind any OpenAI-compatible address: a hosted API, or a vLLM server of one's own."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from medssr.errors import InputError
from medssr.synthesis.generators import Draft, Outcome, Rejection, SynthesisRequest
from medssr.synthesis.ledger import Ledger, LedgerEntry
from medssr.synthesis.replies import ReplyError, parse_reply

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.chat import ChatCompletion

_Messages = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class OpenAIGenerator:
    """Sends each prompt to a chat-completions server and reads the question from its answer.

    An answer that is no question is shown to the model once with what is wrong about it. Every answer is in the ledger
    before it is used, and a request that the ledger answers is not sent again.

    Attributes:
        base_url: Address of the API, e.g. "http://localhost:8000/v1".
        model: Name of the model there.
        api_key_env: Name of the environment variable that holds the key; None for a server without one.
        temperature: Sampling temperature.
        max_tokens: The most tokens of an answer.
        seed: Sampling seed, sent along for servers that heed it.
        max_concurrency: Requests under way at a time.
        timeout_s: Seconds until a call is given up.
        max_retries: Retries of a call, with growing pauses, after 429, 5xx, a lost connection or a time-out.
        ledger_dir: Folder of the ledger `openai.jsonl`. Runs may share one.
    """

    base_url: str
    model: str
    api_key_env: str | None
    temperature: float
    max_tokens: int
    seed: int
    max_concurrency: int
    timeout_s: float
    max_retries: int
    ledger_dir: Path | str

    def generate(self, requests: Iterable[SynthesisRequest]) -> Iterator[tuple[SynthesisRequest, Outcome]]:
        """Yields each request with its question or a rejection.

        The reasons are refusal, empty_response, truncated, unparsable, timeout and api_error.

        Raises:
            InputError: When the variable with the key is not set, the address cannot be reached, or the server refuses
                key or model. What was answered before is in the ledger.
        """
        caller = _Caller(self, self._client(), Ledger(Path(self.ledger_dir) / "openai.jsonl"))
        pending: deque[tuple[SynthesisRequest, Future[Outcome]]] = deque()
        with ThreadPoolExecutor(self.max_concurrency) as pool:
            try:
                for request in requests:
                    pending.append((request, pool.submit(caller.outcome, request)))
                    # Twice the concurrency: one slow answer at the head does not leave the workers idle.
                    if len(pending) >= 2 * self.max_concurrency:
                        yield _finish(*pending.popleft())
                while pending:
                    yield _finish(*pending.popleft())
            finally:
                for _, future in pending:
                    future.cancel()

    def _client(self) -> OpenAI:
        from openai import OpenAI

        # The package wants some key even for a server that asks for none.
        key = "no-key" if self.api_key_env is None else os.environ.get(self.api_key_env)
        if not key:
            problem = f"The environment variable {self.api_key_env} is not set; put the key of {self.base_url} in it."
            raise InputError(problem)
        return OpenAI(base_url=self.base_url, api_key=key, timeout=self.timeout_s, max_retries=self.max_retries)


class _Ending(NamedTuple):
    """How a call ended: the fields of a ledger entry of the same names."""

    outcome: str
    response: str | None = None
    error: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class _Caller:
    """Turns one request into its outcome; used by many threads at a time."""

    settings: OpenAIGenerator
    client: OpenAI
    ledger: Ledger

    def outcome(self, request: SynthesisRequest) -> Outcome:
        """Returns the question of the first answer, or of its repair, or why there is none."""
        messages = [{"role": "user", "content": request.prompt}]
        entries: list[LedgerEntry] = []
        problem = ""
        for attempt in (0, 1):
            entry = self._answer(request, attempt, messages)
            entries.append(entry)
            if entry.outcome != "response" or entry.response is None:
                return Rejection(entry.outcome, entry.error or entry.response or "")
            try:
                stem, options = parse_reply(entry.response)
            except ReplyError as error:
                problem = str(error)
                messages = [*messages, *_repair(entry.response, problem)]
                continue
            return self._draft(request, stem, options, entries)
        return Rejection("unparsable", problem)

    def _draft(
        self, request: SynthesisRequest, stem: str, options: dict[str, str], entries: list[LedgerEntry]
    ) -> Draft:
        entity = request.draw.entity
        details = {
            "model": self.settings.model,
            "num_calls": len(entries),
            "prompt_tokens": sum(entry.prompt_tokens or 0 for entry in entries),
            "completion_tokens": sum(entry.completion_tokens or 0 for entry in entries),
        }
        name, is_rare = (None, None) if entity is None else (entity.name, entity.is_rare)
        return Draft(stem, options, name, is_rare, truth=None, details=details)

    def _answer(self, request: SynthesisRequest, attempt: int, messages: _Messages) -> LedgerEntry:
        """Returns the ledger's answer to the messages, or the server's, which is in the ledger by then."""
        key = self._key(request, attempt)
        known = self.ledger.answer(key)
        if known is not None:
            return known
        start = time.monotonic()
        ending = self._call(messages)
        entry = LedgerEntry(key, request.index, attempt, *ending, latency_s=round(time.monotonic() - start, 3))
        self.ledger.append(entry)
        return entry

    def _call(self, messages: _Messages) -> _Ending:
        """Returns how one call to the server ended.

        Raises:
            InputError: When no call could succeed: the address, the key or the model is wrong.
        """
        import openai

        settings = self.settings
        try:
            completion = self.client.chat.completions.create(
                model=settings.model,
                messages=messages,  # type: ignore[arg-type]
                temperature=settings.temperature,
                max_tokens=settings.max_tokens,
                seed=settings.seed,
            )
        except openai.APITimeoutError:
            return _Ending("timeout", error=f"no answer within {settings.timeout_s} s")
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            problem = f'{settings.base_url} refuses the call for model "{settings.model}" with HTTP {error.status_code}'
            remedy = "check the address, the model and the key, and start again; no answer is lost"
            raise InputError(f"{problem}; {remedy}.") from None
        except openai.APIConnectionError as error:
            problem = f"{settings.base_url} cannot be reached ({error.__cause__ or error})"
            raise InputError(f"{problem}; correct the address or start the server; no answer is lost.") from None
        except openai.APIError as error:
            return _Ending("api_error", error=error.message.replace(self.client.api_key, "***"))
        return _read_completion(completion)

    def _key(self, request: SynthesisRequest, attempt: int) -> str:
        settings = self.settings
        sampling = [settings.model, settings.temperature, settings.max_tokens, settings.seed]
        parts = json.dumps([sampling, request.prompt, request.index, attempt])
        return hashlib.sha256(parts.encode()).hexdigest()


def _finish(request: SynthesisRequest, future: Future[Outcome]) -> tuple[SynthesisRequest, Outcome]:
    return request, future.result()


def _repair(response: str, problem: str) -> _Messages:
    request = f"This cannot be read: {problem} Reply with the corrected JSON object and nothing else."
    return [{"role": "assistant", "content": response}, {"role": "user", "content": request}]


def _read_completion(completion: ChatCompletion) -> _Ending:
    """Returns how a call ended that the server answered with HTTP 200."""
    if not completion.choices:
        return _Ending("api_error", error="the server's answer has no choices")
    choice = completion.choices[0]
    # Half of a surrogate pair, which some servers cut, cannot be sent back or written to a file.
    text = (choice.message.content or "").encode("utf-8", "replace").decode()
    usage = completion.usage
    tokens = (None, None) if usage is None else (usage.prompt_tokens, usage.completion_tokens)
    if choice.message.refusal or choice.finish_reason == "content_filter":
        return _Ending("refusal", choice.message.refusal or text, None, *tokens)
    if choice.finish_reason == "length":
        return _Ending("truncated", text, None, *tokens)
    return _Ending("response" if text.strip() else "empty_response", text, None, *tokens)
