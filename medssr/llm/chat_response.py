"""Reads what a chat-completions server sends back: how an exchange ended by its status, headers and body."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from medssr.llm.chat_protocol import ServerError
from medssr.llm.keys import hide_key
from medssr.utils.json_text import is_deep

_STATUS_WORTH_ANOTHER_TRY = frozenset({408, 409, 425, 429})
# The account, the address, the key or the model is wrong: no other call would fare better.
_STATUS_THAT_STOPS = frozenset({401, 402, 403, 404})
# The codes with which hosted APIs say so with another status.
_CODES_THAT_STOP = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "account_deactivated"}
    | {"invalid_api_key", "model_not_found", "model_decommissioned", "model_terms_required"}
)
# Of an error that comes with status 200 and without a number: the status that its type stands for.
_STATUS_BY_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
}
_LONGEST_MESSAGE = 500
# A larger count of tokens is none.
_MOST_TOKENS = 10**9
# Where the sentence stands in an error: the fields of OpenAI, FastAPI, and those of proxies around them.
_MESSAGE_FIELDS = ("message", "detail", "msg", "error", "errors", "title")
_REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
_REASONING_PARTS = frozenset({"thinking", "reasoning"})
_LENGTH_REASONS = frozenset(
    {"length", "max_tokens", "max_output_tokens", "max_length", "model_length", "model_context_window_exceeded"}
)
_FILTER_REASONS = frozenset(
    {"content_filter", "content_filtered", "safety", "refusal", "sensitive", "guardrail_intervened"}
    | {"prohibited_content", "blocklist", "recitation", "spii"}
)
# The server has stopped in the middle for reasons of its own, so what there is of a text is no answer.
_ERROR_REASONS = frozenset({"error", "abort", "aborted", "cancelled", "network_error", "insufficient_system_resource"})
_TOOL_REASONS = frozenset({"tool_calls", "function_call", "tool_use"})


@dataclass(frozen=True, slots=True)
class Ending:
    """How one exchange ended.

    Attributes:
        outcome: As in the ledger's `Reply`.
        text: What the model wrote.
        error: What went wrong; None when the model answered.
        problem: Why an answer without usable text has none.
        prompt_tokens: As the server counted; None when it did not.
        completion_tokens: The same for the answer.
        server_error: What the server says is wrong; None without a response, and when the model answered.
        is_worth_retry: Whether the same request may succeed later.
        is_fatal: Whether no request at all can succeed until the user changes something.
        pause_s: How long the server asks to wait; None when it does not say.
    """

    outcome: str
    text: str | None = None
    error: str | None = None
    problem: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    server_error: ServerError | None = None
    is_worth_retry: bool = False
    is_fatal: bool = False
    pause_s: float | None = None

    @property
    def is_refused_form(self) -> bool:
        """Whether the server does not take the request as it is written."""
        return self.server_error is not None and self.server_error.status in (400, 422)

    @property
    def kind(self) -> str:
        """The kind of the ending: the outcome, with the status of an error."""
        return self.outcome if self.server_error is None else f"{self.outcome} {self.server_error.status}"


def read_response(status: int, headers: Mapping[str, str], body: bytes, key: str | None = None) -> Ending:
    """Returns how an exchange ended that the server responded to.

    Args:
        status: HTTP status.
        headers: Response headers, with names in lower case.
        body: The whole body.
        key: The server's key, which is taken out of error texts.
    """
    payload = _decode(body)
    if not 200 <= status < 300:
        return _failure(_server_error(status, payload, body, key), headers)
    if isinstance(payload, list) and len(payload) == 1:
        payload = payload[0]
    error = _error_within(payload)
    if error is not None:
        # Some proxies report the fault of the server behind them with status 200.
        return _failure(_server_error(_status_of(error), error, body, key), headers)
    return _read_completion(payload, hide_key(printable(body.decode("utf-8", "replace")), key)[:_LONGEST_MESSAGE])


def _decode(body: bytes) -> Any:
    """Returns the JSON of a body, of a stream its first error; None for anything else."""
    whole = _loaded(body)
    if whole is not None:
        return whole
    for line in body.splitlines():
        if line.startswith(b"data:"):
            event = _loaded(line.removeprefix(b"data:"))
            if _error_within(event) is not None:
                return event
    return None


def _loaded(text: bytes) -> Any:
    """Returns the JSON value of a text; None where it has none, or one that is nested as no answer is."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return None if is_deep(value) else value


def _error_within(payload: Any) -> Any:
    """Returns the error in a response with status 200, of the whole or of its first choice; None without one."""
    if not isinstance(payload, dict):
        return None
    choices = payload.get("choices")
    if not choices:
        is_error = "error" in (payload.get("object"), payload.get("type")) or isinstance(payload.get("detail"), str)
        return payload.get("error") or (payload if is_error else None)
    first = choices[0] if isinstance(choices, list) else None
    if not isinstance(first, dict):
        return None
    reason = str(first.get("finish_reason")).lower()
    cut = f"the server stopped the answer (finish_reason: {reason})" if reason in _ERROR_REASONS else None
    return first.get("error") or cut


def _status_of(error: Any) -> int:
    """Returns the status that an error stands for that came with status 200: its own number, or that of its type."""
    error = _unwrapped(error)
    if isinstance(error, dict):
        for name in ("code", "status", "status_code"):
            text = str(error.get(name))
            if text.isdecimal() and len(text) == 3 and 400 <= int(text) < 600:
                return int(text)
        return _STATUS_BY_TYPE.get(str(error.get("type")), 502)
    return 502


def _server_error(status: int, payload: Any, body: bytes, key: str | None) -> ServerError:
    error = _unwrapped(payload)
    message = _message(error) or body.decode("utf-8", "replace")
    fields = error if isinstance(error, dict) else {}
    return ServerError(
        status=status,
        codes=frozenset(str(fields[name]) for name in ("code", "type") if fields.get(name)),
        parameter=fields["param"] if isinstance(fields.get("param"), str) and fields["param"] else None,
        message=hide_key(printable(message), key)[:_LONGEST_MESSAGE],
    )


def _unwrapped(error: Any) -> Any:
    """Returns the error itself, which some servers put into a list, or into an object, of one."""
    while True:
        if isinstance(error, list) and len(error) == 1:
            error = error[0]
        elif isinstance(error, dict) and error.get("error"):
            error = error["error"]
        else:
            return error


def _message(error: Any) -> str:
    """Returns the sentences in an error, which is a text, a list, or an object with one in any of several fields."""
    if isinstance(error, str):
        return error
    if isinstance(error, list):
        return "; ".join(filter(None, map(_message, error)))
    if not isinstance(error, dict):
        return ""
    message = next((text for name in _MESSAGE_FIELDS if (text := _message(error.get(name)))), "")
    location = error.get("loc")
    if isinstance(location, list):  # of a field that FastAPI does not accept
        message = f"{'.'.join(map(str, location))}: {message}"
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    return f"{message}: {raw}" if isinstance(raw, str) else message  # the words of the server behind a proxy


def _failure(error: ServerError, headers: Mapping[str, str]) -> Ending:
    if error.status == 400 and "content_filter" in error.codes:
        return Ending("refusal", text=error.message, prompt_tokens=0, completion_tokens=0)
    is_fault_of_request = error.status < 500 and error.status not in _STATUS_WORTH_ANOTHER_TRY
    is_fatal = error.status in _STATUS_THAT_STOPS or bool(error.codes & _CODES_THAT_STOP)
    return Ending(
        "invalid_request" if is_fault_of_request else "api_error",
        error=f"HTTP {error.status}: {error.message}",
        server_error=error,
        is_worth_retry=not (is_fatal or is_fault_of_request),
        is_fatal=is_fatal,
        pause_s=_pause(headers),
    )


def _read_completion(payload: Any, body: str) -> Ending:
    """Returns how a call ended that the server answered with HTTP 200 and without an error.

    Args:
        payload: The decoded body.
        body: The beginning of the body.
    """
    tokens = _usage(payload)
    try:
        choice = payload["choices"][0]
        message = choice["message"]
        text, reasoning, refusal = _parts(message)
    except (TypeError, LookupError, AttributeError, ValueError):
        return Ending("malformed_response", body, None, "the server's answer holds no message", *tokens)
    finish = str(choice.get("finish_reason")).lower()
    if refusal or finish in _FILTER_REASONS:
        return Ending("refusal", refusal or text, None, None, *tokens)
    if finish in _LENGTH_REASONS:
        problem = "the answer was cut" if text.strip() else "reasoning used up all tokens and left none for the answer"
        return Ending("truncated", text, None, problem, *tokens)
    if not text.strip() and finish not in _TOOL_REASONS:
        text = reasoning  # some servers file the whole answer of a model there
    if text.strip():
        return Ending("answer", text, None, None, *tokens)
    calls = message.get("tool_calls") or message.get("function_call")
    problem = "the model called a tool in place of an answer" if calls else "the answer is empty"
    return Ending("empty_response", text, None, problem, *tokens)


def _parts(message: Mapping[str, Any]) -> tuple[str, str, str]:
    """Returns what a message says: its answer, the reasoning before it, and a refusal.

    Raises:
        ValueError: When the content is neither a text nor a list of parts.
    """
    text, reasoning, refusal = "", "", str(message.get("refusal") or "")
    content = message.get("content")
    if isinstance(content, list):
        for part in content:
            if part.get("type") in _REASONING_PARTS:
                reasoning += _text(part.get("text") or part.get(part["type"]))
            else:
                text += _text(part.get("text"))
                refusal += _text(part.get("refusal"))
    elif isinstance(content, str):
        text = content
    elif content is not None:
        raise ValueError(type(content).__name__)
    reasoning = reasoning or next((thought for name in _REASONING_FIELDS if (thought := _text(message.get(name)))), "")
    return printable(text), printable(reasoning), printable(refusal)


def _text(value: Any) -> str:
    """Returns a text that stands by itself, in an object, or in a list of these."""
    if isinstance(value, list):
        return "".join(map(_text, value))
    if isinstance(value, dict):
        return _text(value.get("text") or value.get("value"))
    return value if isinstance(value, str) else ""


def _usage(payload: Any) -> tuple[int | None, int | None]:
    usage = payload.get("usage") if isinstance(payload, dict) else None
    usage = usage if isinstance(usage, dict) else {}
    return _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 <= value <= _MOST_TOKENS else None


def printable(text: str) -> str:
    """Returns the text without halves of surrogate pairs, which some servers cut: they cannot be written to a file."""
    return text.encode("utf-8", "replace").decode()


def _pause(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds that the headers ask to wait: `retry-after-ms`, or `retry-after` as seconds or as a date."""
    for name, seconds in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        with suppress(ValueError):
            return max(0.0, float(value) * seconds)
        with suppress(ValueError):
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    return None
