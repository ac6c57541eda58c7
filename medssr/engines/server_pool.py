"""Spreads prompts over servers: each prompt goes to the server with the least under way; lost servers are left out."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeVar

from medssr.engines.vllm_server import ServerDownError, VLLMServer
from medssr.errors import InputError

log = logging.getLogger(__name__)

T = TypeVar("T")

# Seconds between two attempts to end requests, for those that were just being sent.
_ABORT_S = 0.2


@dataclass(slots=True)
class Load:
    """What a server has to do.

    Attributes:
        num_running: Number of completions under way.
        num_prompts: Number of prompts that it was given so far.
    """

    num_running: int = 0
    num_prompts: int = 0


def least_loaded(loads: Sequence[Load], num_completions: int, max_concurrency: int) -> int | None:
    """Returns the index of the server that gets the next prompt; None if none has room.

    Among servers with equally many completions under way, the one with the fewest prompts so far gets it, then the
    first. A server without any has room for any number of completions.

    Args:
        loads: The load of each server.
        num_completions: Number of completions of the prompt.
        max_concurrency: Maximum number of completions under way on a server.

    Example:
        >>> least_loaded([Load(16, 2), Load(8, 3), Load(8, 1)], num_completions=8, max_concurrency=16)
        2
        >>> least_loaded([Load(16, 2)], num_completions=8, max_concurrency=16) is None
        True
    """
    with_room = [
        (load.num_running, load.num_prompts, index)
        for index, load in enumerate(loads)
        if load.num_running == 0 or load.num_running + num_completions <= max_concurrency
    ]
    return min(with_room)[2] if with_room else None


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
                wait(futures.values())  # ends, since each request has a time-out
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
        self,
        indices: Sequence[int],
        num_completions: int,
        first: int,
        ask: Callable[[VLLMServer, int], T],
    ) -> dict[int, tuple[VLLMServer, T]]:
        """Returns, by index, what a server answers and which.

        The prompts of a server that fails go to the others. Requests under way are ended after an error or signal.

        Args:
            indices: Which prompts to ask.
            num_completions: Number of completions of each prompt.
            first: The ready server to begin with, so that several processes with few prompts begin with different ones.
            ask: Sends the prompt of an index to a server.

        Raises:
            InputError: When no server is left, or one refuses a prompt.
        """
        self.check_any_left()
        start = first % len(self.ready)
        loads = {server: Load() for server in [*self.ready[start:], *self.ready[:start]]}
        pending, answers = deque(indices), dict[int, tuple[VLLMServer, T]]()
        finished = SimpleQueue[tuple[VLLMServer, int, Future[T]]]()
        running: set[Future[T]] = set()
        with ThreadPoolExecutor(max(1, min(len(pending), len(loads) * self._max_concurrency))) as threads:
            try:
                while pending or running:
                    while pending and (server := self._next_server(loads, num_completions)) is not None:
                        index = pending.popleft()
                        loads[server].num_running += num_completions
                        loads[server].num_prompts += 1
                        future = threads.submit(ask, server, index)
                        running.add(future)
                        future.add_done_callback(
                            lambda done, server=server, index=index: finished.put((server, index, done))  # type: ignore[misc]
                        )
                    if not running:
                        self.check_any_left()
                    server, index, future = finished.get()  # ends, since each request has a time-out
                    running.remove(future)
                    loads[server].num_running -= num_completions
                    try:
                        answers[index] = server, future.result()
                    except ServerDownError as error:
                        pending.append(index)
                        if server in self.ready:
                            self.exclude(server, str(error))
                            server.abort()  # so that its other prompts need not wait for their time-outs
            except BaseException:
                abort_requests(list(loads), running)
                raise
        return answers

    def _next_server(self, loads: Mapping[VLLMServer, Load], num_completions: int) -> VLLMServer | None:
        """Returns the ready server that gets the next prompt; None if none has room."""
        servers = [server for server in loads if server in self.ready]
        index = least_loaded([loads[server] for server in servers], num_completions, self._max_concurrency)
        return None if index is None else servers[index]


def abort_requests(servers: Sequence[VLLMServer], futures: Iterable[Future[T]]) -> None:
    """Ends the requests under way to some servers, and returns once their threads have ended."""
    left = set(futures)
    while left:
        for server in servers:
            server.abort()
        _, left = wait(left, timeout=_ABORT_S)
