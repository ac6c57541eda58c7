"""A chat-completions request: its body, the hashes that name it, and the parameters that a server may refuse."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medssr.errors import InputError

Message = dict[str, str]

# Below the address of the API.
PATH = "/chat/completions"
RESPONSE_FORMAT = "response_format"
_LENGTH, _NEW_LENGTH = "max_tokens", "max_completion_tokens"
# Codes and words with which servers say that they do not take a parameter, or no value of it but their own. A value out
# of range is another matter: the user has to choose one.
_UNSUPPORTED_CODES = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter", "extra_forbidden"})
_UNSUPPORTED = re.compile(
    r"unsupported|unknown|unrecogni[sz]ed|unexpected|deprecated|no longer|removed|unavailable|no such|"
    r"cannot find field|(not|n't) (support|accept|allow|permit)|not permitted|not allowed|"
    r"(not|n't) (an? )?(recogni[sz]ed|known)|"
    r"not (a )?valid (field|parameter|argument|property)|is (invalid|not valid) for this model|"
    r"(not|n't) (available|implemented|enabled)|not one of the allowed|enabled only|may only be|"
    r"(cannot|can't|must not) be (set|used|specified|given)|\bonly\b.*\b(supported|allowed|permitted|accepted)",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class ServerError:
    """What a server says is wrong with a request.

    Attributes:
        status: HTTP status.
        codes: The server's words for the kind of the error, from its fields `code` and `type`.
        parameter: The parameter that the server names as the cause; None when it names none.
        message: The server's own sentence.
    """

    status: int
    codes: frozenset[str]
    parameter: str | None
    message: str


def refused_parameter(error: ServerError, sent: Collection[str]) -> str | None:
    """Returns the parameter of a request that a server says it does not support; None when it says something else.

    Args:
        error: The server's answer.
        sent: Names of the parameters that may be refused.

    Example:
        >>> message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
        >>> refused_parameter(ServerError(400, frozenset(), None, message), ["max_tokens", "seed"])
        'max_tokens'
    """
    if error.status not in (400, 422) or not (error.codes & _UNSUPPORTED_CODES or _UNSUPPORTED.search(error.message)):
        return None
    if error.parameter is not None:
        parts = re.split(r"\W+", error.parameter)
        return next((name for name in sent if name in parts), None)
    positions = {name: re.search(rf"(?<!\w){name}(?!\w)", error.message, re.IGNORECASE) for name in sent}
    named = {name: match.start() for name, match in positions.items() if match is not None}
    return min(named, key=named.__getitem__, default=None)


def check_extra_body(extra_body: Mapping[str, Any]) -> None:
    """Raises InputError for additions to a request with which no answer could be read."""
    if "messages" in extra_body:
        raise InputError("extra_body.messages: the messages are the prompt; change the prompt's template instead.")
    if extra_body.get("stream"):
        raise InputError("extra_body.stream: answers are read as a whole; leave it out.")


@dataclass(frozen=True, slots=True)
class ChatCall:
    """What is sent, and the hashes that name it.

    Attributes:
        purpose: What the call is for.
        fields: The request's body but for schema and additions.
        schema: JSON schema of the answer, with a title; None where there is none or the additions have a form of their
            own.
        extra_body: Additions to the body, which replace fields of the same name.
        prompt_sha256: Hash of the messages.
        settings_sha256: Hash of model, sampling parameters, additions and schema.
        seed: Sampling seed, in 31 bits: some servers keep no more.
        key: Hash of all of it: what a ledger knows the call by.
        num_bytes: Length of the messages.
    """

    purpose: tuple[str | int, ...]
    fields: Mapping[str, Any]
    schema: Mapping[str, Any] | None
    extra_body: Mapping[str, Any]
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
        extra_body: Mapping[str, Any] | None = None,
    ) -> ChatCall:
        """Returns the call.

        Args:
            purpose: What it is for.
            messages: The conversation.
            sampling: The model's name and the sampling parameters, as the protocol has them.
            seed: Sampling seed.
            schema: JSON schema of the answer, with a title.
            extra_body: Additions to the request's body, which replace what is of the same name.
        """
        seed %= 2**31
        extra = dict(extra_body or {})
        text = json.dumps(list(messages))
        prompt_hash = _hash(text)
        settings_hash = _hash(json.dumps([{**sampling, **extra}, schema], sort_keys=True))
        fields = {**sampling, "messages": list(messages), "seed": seed}
        if _NEW_LENGTH in extra:
            fields.pop(_LENGTH, None)  # servers take one of the two
        return cls(
            purpose=tuple(purpose),
            fields={name: value for name, value in fields.items() if name not in extra},
            schema=None if RESPONSE_FORMAT in extra else schema,
            extra_body=extra,
            prompt_sha256=prompt_hash,
            settings_sha256=settings_hash,
            seed=seed,
            key=_hash(json.dumps([list(purpose), prompt_hash, settings_hash, seed])),
            num_bytes=len(text),
        )

    def optional(self, refused: Collection[str]) -> list[str]:
        """Returns the parameters that the body has and that the request can do without.

        The limit on the length is among them until it was refused, because it has a second name. Additions are not: the
        user has asked for them.
        """
        names = [name for name in self.fields if name not in ("model", "messages")]
        names += [RESPONSE_FORMAT] if self.schema is not None else []
        return [name for name in names if name not in refused]

    def body(self, refused: Collection[str] = ()) -> bytes:
        """Returns the request's body without the parameters that the server refuses.

        `max_tokens`, once refused, is sent as `max_completion_tokens`.
        """
        fields = {name: value for name, value in self.fields.items() if name not in refused}
        if _LENGTH in self.fields and _LENGTH in refused:
            fields[_NEW_LENGTH] = self.fields[_LENGTH]
        if self.schema is not None and RESPONSE_FORMAT not in refused:
            form = {"name": self.schema["title"], "strict": True, "schema": self.schema}
            fields[RESPONSE_FORMAT] = {"type": "json_schema", "json_schema": form}
        return json.dumps({**fields, **self.extra_body}).encode()

    def left_out(self, refused: Collection[str]) -> list[str]:
        """Returns the parameters that this call asks for and that are not in the body, sorted."""
        return sorted(set(self.optional(())) & set(refused) - {_LENGTH})


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
