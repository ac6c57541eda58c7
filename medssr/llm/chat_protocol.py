"""The chat-completions protocol: what is sent, and how an exchange ended by its status, headers and body."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

Message = dict[str, str]

_STATUS_WORTH_ANOTHER_TRY = frozenset({408, 409, 425, 429})
# The account, the address, the key or the model is wrong: no other call would fare better.
_STATUS_THAT_STOPS = frozenset({401, 402, 403, 404})
# The codes with which hosted APIs say so with another status.
_CODES_THAT_STOP = frozenset({"insufficient_quota", "billing_hard_limit_reached", "invalid_api_key", "model_not_found"})
_LONGEST_MESSAGE = 500


@dataclass(frozen=True, slots=True)
class ChatCall:
    """What is sent, and the hashes that name it.

    Attributes:
        purpose: What the call is for.
        fields: The request's body but for the schema.
        schema: JSON schema of the answer, with a title.
        prompt_sha256: Hash of the messages.
        settings_sha256: Hash of model, sampling parameters and schema.
        seed: Sampling seed, in 31 bits: some servers keep no more.
        key: Hash of all of it: what a ledger knows the call by.
        num_bytes: Length of the messages.
    """

    purpose: tuple[str | int, ...]
    fields: Mapping[str, Any]
    schema: Mapping[str, Any] | None
    prompt_sha256: str
    settings_sha256: str
    seed: int
    key: str
    num_bytes: int

    @classmethod
    def of(
        cls,
        purpose: Sequence[str | int],
        messages: Sequence[Message],
        sampling: Mapping[str, Any],
        seed: int,
        schema: Mapping[str, Any] | None,
    ) -> ChatCall:
        """Returns the call.

        Args:
            purpose: What it is for.
            messages: The conversation.
            sampling: The model's name and the sampling parameters, as the protocol has them.
            seed: Sampling seed.
            schema: JSON schema of the answer, with a title.
        """
        seed %= 2**31
        text = json.dumps(list(messages))
        prompt_hash, settings_hash = _hash(text), _hash(json.dumps([sampling, schema], sort_keys=True))
        return cls(
            purpose=tuple(purpose),
            fields={**sampling, "messages": list(messages), "seed": seed},
            schema=schema,
            prompt_sha256=prompt_hash,
            settings_sha256=settings_hash,
            seed=seed,
            key=_hash(json.dumps([list(purpose), prompt_hash, settings_hash, seed])),
            num_bytes=len(text),
        )

    def body(self, has_schema: bool) -> bytes:
        """Returns the request's body."""
        fields = dict(self.fields)
        if has_schema and self.schema is not None:
            form = {"name": self.schema["title"], "strict": True, "schema": self.schema}
            fields["response_format"] = {"type": "json_schema", "json_schema": form}
        return json.dumps(fields).encode()


@dataclass(frozen=True, slots=True)
class Ending:
    """How one exchange ended.

    Attributes:
        outcome: As in the ledger's `Reply`.
        text: What the model wrote.
        error: What went wrong; None when the model answered.
        prompt_tokens: As the server counted; None when it did not.
        completion_tokens: The same for the answer.
        is_worth_retry: Whether the same request may succeed later.
        is_fatal: Whether no request at all can succeed until the user changes something.
        is_refused_form: Whether the server does not take the request as it is written.
        pause_s: How long the server asks to wait; None when it does not say.
    """

    outcome: str
    text: str | None = None
    error: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    is_worth_retry: bool = False
    is_fatal: bool = False
    is_refused_form: bool = False
    pause_s: float | None = None


def read_response(status: int, headers: Mapping[str, str], body: bytes) -> Ending:
    """Returns how an exchange ended that the server responded to.

    Args:
        status: HTTP status.
        headers: Response headers, with names in lower case.
        body: The whole body.
    """
    payload = _decode(body)
    if status == 200:
        if isinstance(payload, dict) and payload.get("error") and not payload.get("choices"):
            # Some proxies report the fault of the server behind them with status 200.
            code = payload["error"].get("code") if isinstance(payload["error"], dict) else None
            return _failure(code if isinstance(code, int) else 502, headers, payload, body)
        return _read_completion(payload, body)
    return _failure(status, headers, payload, body)


def _decode(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _failure(status: int, headers: Mapping[str, str], payload: Any, body: bytes) -> Ending:
    error = payload.get("error") if isinstance(payload, dict) else None
    code = str(error.get("code")) if isinstance(error, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    text = _printable(str(message or body.decode("utf-8", "replace")))[:_LONGEST_MESSAGE]
    if status == 400 and code == "content_filter":
        return Ending("refusal", text=text, prompt_tokens=0, completion_tokens=0)
    is_fault_of_request = status < 500 and status not in _STATUS_WORTH_ANOTHER_TRY
    is_fatal = status in _STATUS_THAT_STOPS or code in _CODES_THAT_STOP
    return Ending(
        "invalid_request" if is_fault_of_request else "api_error",
        error=f"HTTP {status}: {text}",
        is_worth_retry=not (is_fatal or is_fault_of_request),
        is_fatal=is_fatal,
        is_refused_form=status in (400, 422),
        pause_s=_pause(headers),
    )


def _read_completion(payload: Any, body: bytes) -> Ending:
    """Returns how a call ended that the server answered with HTTP 200."""
    try:
        choice = payload["choices"][0]
        message = choice["message"]
        text = _printable(message.get("content") or "")
        refusal = message.get("refusal")
        finish = choice.get("finish_reason")
    except (TypeError, LookupError, AttributeError):
        return Ending("malformed_response", text=_printable(body.decode("utf-8", "replace"))[:_LONGEST_MESSAGE])
    usage = payload.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    tokens = (_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))
    if refusal or finish == "content_filter":
        return Ending("refusal", _printable(str(refusal or text)), None, *tokens)
    if finish == "length":
        return Ending("truncated", text, None, *tokens)
    return Ending("answer" if text.strip() else "empty_response", text, None, *tokens)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


def _printable(text: str) -> str:
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


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


_LONGEST_CONNECT_S = 10.0

_CHUNK_BYTES = 2**16


class UnreachableError(ConnectionError):
    """No connection came about: nobody listens, the name is unknown, the certificate is wrong."""


@dataclass(frozen=True, slots=True)
class Response:
    """What a server sent back.

    Attributes:
        status: HTTP status.
        headers: Names in any case.
        body: The whole body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Posts JSON to an address.

    The environment's proxies are used (HTTP_PROXY, HTTPS_PROXY, NO_PROXY).

    Args:
        url: Where to.
        key: Sent as a bearer token; None for a server without one.
        max_connections: Exchanges under way at a time.
        timeout_s: The longest an exchange may take, and connecting 10 seconds of it.
    """

    def __init__(self, url: str, key: str | None, max_connections: int, timeout_s: float) -> None:
        from urllib3 import PoolManager, ProxyManager, Timeout

        self._url = url
        self._timeout_s = timeout_s
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._timeout = Timeout(connect=min(timeout_s, _LONGEST_CONNECT_S), read=timeout_s)
        address = urlsplit(url)
        proxy = None if proxy_bypass(address.hostname or "") else getproxies().get(address.scheme)
        if proxy is None:
            self._pools: PoolManager = PoolManager(num_pools=1, maxsize=max_connections, block=True)
        else:
            self._pools = ProxyManager(proxy, num_pools=1, maxsize=max_connections, block=True)

    def post(self, body: bytes) -> Response:
        """Returns the response, whatever its status.

        Raises:
            UnreachableError: When no connection comes about.
            TimeoutError: When the response is not there in time, be it that it trickles in.
            ConnectionError: When the connection is lost.
        """
        from urllib3 import exceptions

        deadline = time.monotonic() + self._timeout_s
        try:
            # One attempt: who calls counts and records each.
            response = self._pools.urlopen(
                "POST",
                self._url,
                body=body,
                headers=self._headers,
                timeout=self._timeout,
                retries=False,
                redirect=False,
                preload_content=False,
            )
            received = bytearray()
            is_whole = False
            try:
                while chunk := response.read1(_CHUNK_BYTES):
                    received += chunk
                    if time.monotonic() > deadline:
                        raise TimeoutError("the answer trickles in")
                is_whole = True
            finally:
                if is_whole:
                    response.release_conn()
                else:
                    response.close()  # what is still to come would be taken for the next answer
            return Response(response.status, response.headers, bytes(received))
        except (exceptions.ConnectTimeoutError, exceptions.SSLError, exceptions.ProxyError) as error:
            raise UnreachableError(str(error)) from error
        except exceptions.TimeoutError as error:
            raise TimeoutError(str(error)) from error
        except exceptions.HTTPError as error:
            raise ConnectionError(str(error) or type(error).__name__) from error

    def close(self) -> None:
        """Closes the connections."""
        self._pools.clear()
