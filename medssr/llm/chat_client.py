"""A client for chat completions at any OpenAI-compatible address that pays for no answer twice."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeVar

from medssr.errors import InputError
from medssr.llm.budget import Allowance, Cost
from medssr.llm.chat_health import Health
from medssr.llm.chat_protocol import PATH, RESPONSE_FORMAT, ChatCall, Message, refused_parameter
from medssr.llm.chat_response import Ending, printable, read_response
from medssr.llm.chat_settings import ChatSettings
from medssr.llm.chat_transport import Response, TooLongError, Transport, UnreachableError
from medssr.llm.keys import hide_key, key_from_environment
from medssr.llm.ledger import Ledger, Reply
from medssr.utils.seeding import derive_seed

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

# Pauses before another attempt, in seconds: they double from the first to the longest, each shortened by up to half.
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
# A server that asks for a longer pause has run out of a quota, which a run does not wait for.
_LONGEST_PAUSE_ASKED_S = 300.0
# Items taken ahead for each call under way: one that fails and pauses at the head does not leave the others idle.
_TAKEN_AHEAD = 64
_BYTES_PER_TOKEN = 4
# Seconds of waiting for calls under way until a message says so.
_SILENT_S = 2.0
# Characters of an address or an answer in a message.
_LONGEST_SHOWN = 500
# The kind of an answer that the caller finds nothing in.
_USELESS = "unusable answer"


class ChatClient:
    """Calls a model, and answers from the ledger what it has answered before.

    Every attempt and every reply is in the ledger before it is used. Used by many threads at a time.

    Args:
        settings: The model and how it is called.
        ledger_name: Name of the ledger's file in `settings.ledger_dir`.

    Raises:
        InputError: When the environment variable with the key is not set.
    """

    def __init__(self, settings: ChatSettings, ledger_name: str) -> None:
        self._settings = settings
        self._key = key_from_environment(settings.api_key_env, settings.base_url)
        self._ledger = Ledger(Path(settings.ledger_dir) / ledger_name)
        self._allowance = Allowance(settings.budget, lambda: self._ledger.spent(settings.model))
        self._used_keys: set[str] = set()
        self._new_keys: set[str] = set()  # of the answers that are not from the ledger
        self._used_cost = Cost()
        self._left_out: set[str] = set()
        url = settings.base_url.rstrip("/") + PATH
        self._transport = Transport(url, self._key, settings.max_concurrency, settings.timeout_s)
        self._pool = ThreadPoolExecutor(settings.max_concurrency)
        self._is_stopped = threading.Event()
        self._fault: InputError | None = None  # what has shown that no call can succeed
        self._refused: frozenset[str] = frozenset()  # parameters that the server does not take
        self._has_response = False
        self._health = Health()
        self._count_lock = threading.Lock()

    def ask(
        self,
        purpose: Sequence[str | int],
        messages: Sequence[Message],
        seed: int,
        schema: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Returns how the model answered, from the ledger where it is there, else from the server.

        The same arguments and settings give the same answer for ever. A refusal, a time-out or an error after all
        retries is a reply with that outcome; `is_answered` says whether the ledger will give it again. A parameter that
        the server does not support is left out from then on, and the replies say so. What the caller makes of an
        answer it says to `note_use`.

        Args:
            purpose: Names what the call is for. Calls that are to be independent draws have different ones.
            messages: The conversation, each message with "role" and "content".
            seed: Sampling seed, for servers that heed it.
            schema: JSON schema of the answer, with a title, for servers that can hold the model to it. Others are asked
                without it.

        Raises:
            BudgetError: When the budget does not cover another call.
            InputError: When no call can succeed: the address, the key or the model is wrong, the account is empty, the
                server has failed many calls in a row, or none of the first calls gave a usable answer.
        """
        settings = self._settings
        sampling = {"model": settings.model, "temperature": settings.temperature, "max_tokens": settings.max_tokens}
        call = ChatCall.of(purpose, messages, sampling, seed, schema, settings.extra_body)
        reply = self._ledger.find(call.key)
        if reply is not None:
            ending, is_new = Ending(reply.outcome), False
        else:
            with self._allowance.one_call():
                if self._is_stopped.is_set():
                    raise self._fault or CancelledError
                reply, ending = self._send(call)
                self._ledger.append(reply)
            is_new = True
        if ending.kind != "answer":
            problem = f"{reply.outcome}: {reply.why_unusable}" if reply.is_answered else reply.why_unusable
            reason = self._health.fail(ending.kind, not reply.is_answered, is_new)
            if reason is not None or ending.is_fatal:
                self._stop(reason, problem, reply.is_answered)
        self._count(reply, is_new)
        return reply

    def _count(self, reply: Reply, is_new: bool) -> None:
        """Counts a reply of the model, once for each call."""
        with self._count_lock:
            if reply.is_answered and reply.key not in self._used_keys:
                self._used_keys.add(reply.key)
                if is_new:
                    self._new_keys.add(reply.key)
                self._used_cost += reply.cost
                self._left_out.update(reply.left_out)

    def note_use(self, reply: Reply, problem: str | None = None) -> None:
        """Takes note of whether an answer with outcome "answer" was of use, which the caller alone can tell.

        An answer that is shown to the model again for a repair is not noted before the repair.

        Args:
            reply: The answer.
            problem: Why it was of no use; None where it was.

        Raises:
            InputError: When no answer so far was of use, or none for long.
        """
        is_new = reply.key in self._new_keys
        if problem is None:
            self._health.succeed(is_new)
            return
        reason = self._health.fail(_USELESS, is_failure=False, is_new=is_new)
        if reason is not None:
            shown = printable(reply.text or "")[:_LONGEST_SHOWN]
            self._stop(reason, f"{problem} The answer: {shown}", is_answered=True)

    def ask_all(self, ask: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """Yields each item with what `ask` returns for it, in the order of the items, several at work at a time.

        The items are taken as they are needed. When `ask` raises, or the iterator is closed, the calls under way are
        finished and recorded, and no other is begun.

        Args:
            ask: Makes one or more calls for an item.
            items: What to ask about.
        """
        pending: deque[tuple[Item, Future[Result]]] = deque()
        try:
            for item in items:
                pending.append((item, self._pool.submit(ask, item)))
                if len(pending) >= _TAKEN_AHEAD * self._settings.max_concurrency:
                    yield _finished(*pending.popleft())
            while pending:
                yield _finished(*pending.popleft())
        except BaseException:
            self._is_stopped.set()
            _, late = wait([future for _, future in pending if not future.cancel()], _SILENT_S)
            if late:
                limit = f"{self._settings.group}.timeout_s={self._settings.timeout_s:g} seconds at most"
                log.warning("waiting for the calls under way, which are paid for: %d of them, %s", len(late), limit)
            wait(late)  # ends, since each exchange has a time limit and no further one is begun
            raise

    def usage(self) -> dict[str, Any]:
        """Returns how many answers were used so far, and what they cost, whenever they were paid for.

        Under "left_out" are the parameters that the server did not take, where there are any: the answers were sampled
        without them.
        """
        cost = self._used_cost
        usage = {"num_answers": len(self._used_keys), "tokens": cost.tokens, "dollars": round(cost.dollars, 6)}
        return usage | ({"left_out": sorted(self._left_out)} if self._left_out else {})

    def close(self) -> None:
        """Waits for the calls under way and closes connections and ledger."""
        self._is_stopped.set()
        self._pool.shutdown(cancel_futures=True)  # ends, since each exchange has a time limit
        self._transport.close()
        self._ledger.close()

    def _send(self, call: ChatCall) -> tuple[Reply, Ending]:
        """Sends the call until it is answered or no attempt is left, and returns how the last attempt ended."""
        start = time.monotonic()
        failures: list[str] = []
        num_retries = 0
        refused = self._refused
        is_schema_suspect = False
        while True:
            self._ledger.note_sent(call.key, len(failures))
            ending = self._exchange(call.body(refused))
            optional = call.optional(refused)
            name = refused_parameter(ending.server_error, optional) if ending.server_error else None
            if self._is_stopped.is_set():
                break
            if name is not None:
                self._remember_refusal(name, ending)
                refused |= {name}
            elif ending.is_refused_form and RESPONSE_FORMAT in optional:
                is_schema_suspect = True  # Whether the schema was the fault shows without it.
                refused |= {RESPONSE_FORMAT}
            elif ending.is_worth_retry and num_retries < self._settings.max_retries:
                if self._is_stopped.wait(pause_before_retry(call.key, num_retries, ending.pause_s)):
                    break
                num_retries += 1
            else:
                break
            failures.append(ending.error or ending.outcome)
            refused |= self._refused  # what other calls have found out
        if ending.error is None and is_schema_suspect:
            self._remember_refusal(RESPONSE_FORMAT, None)
        latency_s = time.monotonic() - start
        return self._reply(call, ending, failures, latency_s, call.left_out(refused)), ending

    def _remember_refusal(self, name: str, ending: Ending | None) -> None:
        """Leaves a parameter out of the calls that follow, and says so once."""
        with self._count_lock:
            if name in self._refused:
                return
            self._refused |= {name}
        what = (
            "it is sent as max_completion_tokens"
            if name == "max_tokens"
            else "it is left out, so the server's own choice applies; the manifest says so"
        )
        why = "" if ending is None else f" ({ending.error})"
        log.warning(
            '%s, model "%s": does not take %s; %s%s', self._settings.base_url, self._settings.model, name, what, why
        )

    def _exchange(self, body: bytes) -> Ending:
        """Returns how one attempt ended."""
        try:
            response = self._transport.post(body)
        except UnreachableError as error:
            # Before the server has ever responded, the address is likelier wrong than the server down for a moment.
            problem = f"cannot be reached ({error})"
            return Ending("connection", error=problem, is_worth_retry=True, is_fatal=not self._has_response)
        except TimeoutError:
            problem = f"no whole answer within {self._settings.group}.timeout_s={self._settings.timeout_s:g} seconds"
            return Ending("timeout", error=problem, is_worth_retry=True)
        except TooLongError as error:
            return Ending("api_error", error=str(error), is_worth_retry=True)
        except ConnectionError as error:
            return Ending("connection", error=f"the connection was lost ({error})", is_worth_retry=True)
        self._has_response = True
        if response.redirect is not None:
            return self._redirected(response)
        ending = read_response(response.status, response.headers, response.body, self._key)
        if ending.is_worth_retry and (ending.pause_s or 0) > _LONGEST_PAUSE_ASKED_S:
            problem = f"{ending.error} (and asks to wait {ending.pause_s:.0f} s)"
            return replace(ending, error=problem, is_worth_retry=False, is_fatal=True)
        return ending

    def _redirected(self, response: Response) -> Ending:
        """Returns the end of a run whose server has moved: the key goes nowhere but to the address that was given."""
        assert response.redirect is not None
        address = hide_key(printable(response.redirect), self._key)[:_LONGEST_SHOWN]
        setting = f"{self._settings.group}.base_url"
        if address.endswith(PATH):
            what = f"the server names another address; to go there, set {setting}={address.removesuffix(PATH)}"
        else:
            what = f"the server sends the client to {address}, which answers no chat; correct {setting}"
        return Ending("invalid_request", error=f"HTTP {response.status}: {what}", is_fatal=True)

    def _stop(self, reason: str | None, problem: str, is_answered: bool) -> NoReturn:
        """Ends all calls, because no further one can succeed, or is likely to."""
        if is_answered:
            remedy = "change settings, prompt or model; a call that was answered is not made again"
        else:
            remedy = "put it right and start the same command again; no answer is lost"
        said = problem if reason is None else f"{reason}: {problem}"
        settings = self._settings
        self._fault = InputError(f'{settings.base_url}, model "{settings.model}": {said}; {remedy}.')
        self._is_stopped.set()
        raise self._fault

    def _problem(self, ending: Ending) -> str | None:
        """Returns why an answer is of no use, with the setting to change where one decides it."""
        if ending.outcome != "truncated":
            return ending.problem
        settings = self._settings
        setting, limit = f"{settings.group}.max_tokens", settings.max_tokens
        for name in ("max_tokens", "max_completion_tokens"):
            if name in settings.extra_body:
                setting, limit = f"{settings.group}.extra_body.{name}", settings.extra_body[name]
        return f"{ending.problem}; raise {setting}, which is {limit}"

    def _reply(
        self, call: ChatCall, ending: Ending, failures: list[str], latency_s: float, left_out: list[str]
    ) -> Reply:
        tokens = (0, 0)
        is_estimated = ending.error is None and None in (ending.prompt_tokens, ending.completion_tokens)
        if is_estimated:
            tokens = (call.num_bytes // _BYTES_PER_TOKEN + 1, len((ending.text or "").encode()) // _BYTES_PER_TOKEN + 1)
        elif ending.error is None:
            tokens = (ending.prompt_tokens or 0, ending.completion_tokens or 0)
        return Reply(
            key=call.key,
            purpose=list(call.purpose),
            model=self._settings.model,
            prompt_sha256=call.prompt_sha256,
            settings_sha256=call.settings_sha256,
            seed=call.seed,
            outcome=ending.outcome,
            text=ending.text,
            error=ending.error,
            problem=self._problem(ending),
            left_out=left_out,
            prompt_tokens=tokens[0],
            completion_tokens=tokens[1],
            is_estimated=is_estimated,
            dollars=self._settings.prices.dollars(*tokens),
            num_attempts=len(failures) + 1,
            failures=failures,
            latency_s=round(latency_s, 3),
        )


def pause_before_retry(key: str, num_retries: int, asked_s: float | None) -> float:
    """Returns the seconds to wait: what the server asks for, or twice as long each time.

    A part of it depends on the call, so that calls that failed together do not return together.
    """
    fraction = derive_seed("pause", key, num_retries) / 2**63
    if asked_s is not None:
        return asked_s * (1 + 0.1 * fraction)
    doubled = min(_FIRST_PAUSE_S * 2.0**num_retries, _LONGEST_PAUSE_S)
    return doubled * (0.5 + 0.5 * fraction)


def _finished(item: Item, future: Future[Result]) -> tuple[Item, Result]:
    return item, future.result()


@dataclass(frozen=True, kw_only=True)
class ChatModel(ChatSettings):
    """A model that is asked through one client, which opens at the first call.

    Attributes:
        ledger_name: Name of the ledger's file in `ledger_dir`.
    """

    ledger_name: ClassVar[str]

    def usage(self) -> dict[str, Any]:
        """Returns how many answers were used so far, and what they cost."""
        return self._client.usage()

    def close(self) -> None:
        """Closes connections and ledger, if a call has opened them."""
        if "_client" in vars(self):
            self._client.close()

    @cached_property
    def _client(self) -> ChatClient:
        return ChatClient(self, self.ledger_name)
