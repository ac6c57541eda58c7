"""Spreads prompts over servers: each prompt goes to the server with the least under way; lost servers are left out."""

from __future__ import annotations

import logging
import resource
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from medssr.engines.vllm_server import ServerDownError, VLLMServer
from medssr.errors import InputError

log = logging.getLogger(__name__)

P = TypeVar("P")
T = TypeVar("T")

# Seconds between two attempts to end requests, for those that were just being sent.
_ABORT_S = 0.2
# Maximum seconds until a signal is noticed that came just before the main thread began to wait and so did not wake it.
_LOOK_S = 0.5
# Maximum number of requests under way, each of which has a thread and a connection, whatever the system allows.
_MANY_CONNECTIONS = 4096


@dataclass(frozen=True, slots=True)
class Job(Generic[P]):
    """A prompt to send.

    Attributes:
        payload: What is sent.
        num_completions: Number of its completions.
        num_tokens: Number of tokens that it is expected to take, prompt and completions.
    """

    payload: P
    num_completions: int
    num_tokens: int


@dataclass(slots=True)
class Load:
    """What a server has to do.

    Attributes:
        num_tokens: Number of tokens expected of the prompts under way.
        num_completions: Number of their completions.
        num_prompts: Number of prompts that it was given so far.
    """

    num_tokens: int = 0
    num_completions: int = 0
    num_prompts: int = 0

    def begin(self, job: Job[P]) -> None:
        """Counts a prompt that is sent."""
        self.num_tokens += job.num_tokens
        self.num_completions += job.num_completions
        self.num_prompts += 1

    def end(self, job: Job[P]) -> None:
        """Counts a prompt that is answered, or was lost with the server."""
        self.num_tokens -= job.num_tokens
        self.num_completions -= job.num_completions


def least_loaded(loads: Sequence[Load], num_completions: int, max_concurrency: int) -> int | None:
    """Returns the index of the server that gets the next prompt; None if none has room.

    Among servers with room, the one with the fewest tokens under way gets it; of several, the one with the fewest
    prompts so far, then the first. A server without any has room for any number of completions.

    Args:
        loads: The load of each server.
        num_completions: Number of completions of the prompt.
        max_concurrency: Maximum number of completions under way on a server.

    Example:
        >>> least_loaded([Load(900, 16, 2), Load(500, 8, 3), Load(500, 8, 1)], num_completions=8, max_concurrency=16)
        2
        >>> least_loaded([Load(900, 16, 2)], num_completions=8, max_concurrency=16) is None
        True
    """
    with_room = [
        (load.num_tokens, load.num_prompts, index)
        for index, load in enumerate(loads)
        if load.num_completions == 0 or load.num_completions + num_completions <= max_concurrency
    ]
    return min(with_room)[2] if with_room else None


class _Queue(Generic[P]):
    """The prompts that are not under way: those of lost servers first, then those of each batch, longest first.

    A batch is taken once all before it have been sent.
    """

    def __init__(self, batches: Iterable[Sequence[Job[P]]]) -> None:
        self._batches = iter(batches)
        self._jobs: deque[Job[P]] = deque()

    def peek(self) -> Job[P] | None:
        """Returns the next prompt, and leaves it in the queue; None at the end."""
        while not self._jobs:
            batch = next(self._batches, None)
            if batch is None:
                return None
            self._jobs.extend(sorted(batch, key=lambda job: -job.num_tokens))
        return self._jobs[0]

    def take(self) -> None:
        """Removes the next prompt."""
        self._jobs.popleft()

    def put_back(self, job: Job[P]) -> None:
        """Puts a prompt in front of all others."""
        self._jobs.appendleft(job)


class ServerPool:
    """The servers of an engine: those that are ready, and the reasons why others are not.

    Args:
        servers: All servers.
        max_concurrency: Maximum number of completions under way on a server, from this process.

    Attributes:
        ready: The servers that get prompts.
        lost: Why a server does not, by its address.
    """

    def __init__(self, servers: Iterable[VLLMServer], max_concurrency: int) -> None:
        self.servers = tuple(servers)
        self.ready: list[VLLMServer] = []
        self.lost: dict[str, str] = {}
        self._max_concurrency = max_concurrency

    def include(self, server: VLLMServer) -> None:
        """Gives the server prompts from now on."""
        if server not in self.ready:
            self.ready.append(server)
        if self.lost.pop(server.address, None) is not None:
            log.info("the server %s answers again", server.address)

    def exclude(self, server: VLLMServer, reason: str) -> None:
        """Gives the server no prompts until it is included again, and logs why if it was not lost before."""
        if server in self.ready:
            self.ready.remove(server)
        if server.address not in self.lost:
            number = len(self.ready)
            log.warning("lost the server %s: %s; its prompts go to the %d left", server.address, reason, number)
        self.lost[server.address] = reason

    def assign(self, ready: Iterable[str], lost: Mapping[str, str]) -> None:
        """Takes over which servers are ready and lost, as another process has found."""
        addresses = set(ready)
        self.ready = [server for server in self.servers if server.address in addresses]
        self.lost = dict(lost)

    def check_any_left(self) -> None:
        """Raises InputError if no server is ready."""
        if not self.ready:
            reasons = "; ".join(f"{address}: {reason}" for address, reason in self.lost.items())
            raise InputError(
                f"rollout: no server is left ({reasons}). The same command goes on; before it, start those of "
                "rollout.addresses again (vllm serve FOLDER). Where answers take long, raise rollout.timeout_s."
            )

    def each(self, servers: Sequence[VLLMServer], act: Callable[[VLLMServer], T]) -> dict[VLLMServer, T]:
        """Returns `act` of each server, at the same time; a server that is down is excluded and left out.

        Raises:
            InputError: When a server raises it; the others have finished before.
        """
        if not servers:
            return {}
        with ThreadPoolExecutor(len(servers)) as threads:
            futures = {server: threads.submit(act, server) for server in servers}
            try:
                while wait(futures.values(), timeout=_LOOK_S).not_done:
                    pass  # each request has a time-out
            except BaseException:
                abort_requests(servers, futures.values())
                raise
        results: dict[VLLMServer, T] = {}
        for server, future in futures.items():
            try:
                results[server] = future.result()
            except ServerDownError as error:
                self.exclude(server, str(error))
        return results

    def spread(
        self, batches: Iterable[Sequence[Job[P]]], first: int, ask: Callable[[VLLMServer, P], T]
    ) -> Generator[tuple[P, T]]:
        """Yields each prompt with a server's answer, in the order in which these come.

        The prompts of a server that fails go to the others. Requests under way are ended after an error or signal, and
        if the generator is closed.

        Args:
            batches: The prompts. A batch is taken once all before it have been sent.
            first: The server to begin with, so that several processes with few prompts begin with different ones.
            ask: Sends a prompt to a server.

        Raises:
            InputError: When no server is left, or one refuses a prompt.
        """
        start = first % len(self.servers)
        loads = {server: Load() for server in [*self.servers[start:], *self.servers[:start]]}
        queue, finished = _Queue(batches), SimpleQueue[tuple[VLLMServer, Job[P], Future[T]]]()
        running: set[Future[T]] = set()
        num_threads = max(1, min(len(loads) * self._max_concurrency, _max_connections()))
        with ThreadPoolExecutor(num_threads) as threads:
            try:
                while True:
                    for server, job in self._sendable(queue, loads):
                        future = threads.submit(ask, server, job.payload)
                        running.add(future)
                        future.add_done_callback(
                            lambda done, server=server, job=job: finished.put((server, job, done))  # type: ignore[misc]
                        )
                    if not running:
                        if queue.peek() is None:
                            return
                        self.check_any_left()
                    server, job, future = _next_of(finished)
                    running.remove(future)
                    loads[server].end(job)
                    try:
                        answer = future.result()
                    except ServerDownError as error:
                        queue.put_back(job)
                        if server in self.ready:
                            self.exclude(server, str(error))
                            server.abort()  # so that its other prompts need not wait for their time-outs
                        continue
                    yield job.payload, answer
            except BaseException:
                abort_requests(list(loads), running)
                raise

    def _sendable(self, queue: _Queue[P], loads: Mapping[VLLMServer, Load]) -> Iterator[tuple[VLLMServer, Job[P]]]:
        """Yields the prompts that there is room for, each with its server, and counts them as sent."""
        while (job := queue.peek()) is not None:
            servers = [server for server in loads if server in self.ready]
            index = least_loaded([loads[server] for server in servers], job.num_completions, self._max_concurrency)
            if index is None:
                return
            queue.take()
            loads[servers[index]].begin(job)
            yield servers[index], job


def _max_connections() -> int:
    """Returns the number of requests that may be under way: half of the files that the process may have open."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MANY_CONNECTIONS if limit == resource.RLIM_INFINITY else min(limit // 2, _MANY_CONNECTIONS)


def _next_of(finished: SimpleQueue[T]) -> T:
    """Returns what is put into the queue next, which comes for certain, since each request has a time-out."""
    while True:
        with suppress(Empty):
            return finished.get(timeout=_LOOK_S)


def abort_requests(servers: Sequence[VLLMServer], futures: Iterable[Future[T]]) -> None:
    """Ends the requests under way to some servers, and returns once their threads have ended."""
    left = set(futures)
    for future in left:
        future.cancel()  # one that waits for a thread would still be sent
    while left:
        for server in servers:
            server.abort()
        _, left = wait(left, timeout=_ABORT_S)
