"""One update of the servers' weights: pause, send, empty caches, prove, resume. One process alone makes it.

Of a policy with adapters, a server is given the other weights once, and the adapters in each update.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from medssr.engines.packed_weights import NamedWeight
from medssr.engines.served_adapters import ServedAdapters
from medssr.engines.server_pool import ServerPool
from medssr.engines.vllm_server import ServerDownError, ServerWeights, VLLMServer
from medssr.engines.weight_checksums import Checksums, stale_weights, weight_checksum
from medssr.engines.weight_transfer import WeightTransfer, choose_transfer
from medssr.models.lora import has_adapters
from medssr.models.policy import Policy

# Computing checksums takes about a second per GB. So they are computed after every update up to this size; for larger
# models after the first two, which show that updates arrive at all, and then after every tenth.
_MAX_BYTES_ALWAYS = 4 * 10**9
_CHECKSUM_EVERY = 10


class WeightUpdater:
    """Gives servers the policy's weights, and makes them prove that they have them.

    Args:
        pool: The servers; those that fail are excluded from it.
        policy: The policy.
        folder: A folder that the servers see under the same path; None if there is none, which a policy with adapters
            needs.
        timeout_s: Time-out in seconds of each part of an update.
    """

    def __init__(self, pool: ServerPool, policy: Policy, folder: Path | None, timeout_s: float) -> None:
        self._pool = pool
        self._policy = policy
        self._folder = folder
        self._timeout_s = timeout_s
        self._num_updates = 0
        self._version = ""  # what the servers call the weights of the last update
        self._described: dict[VLLMServer, ServerWeights] = {}
        self._checksums: dict[VLLMServer, Checksums] = {}
        self._transfer: WeightTransfer | None = None
        self._has_new_servers = False
        self._adapters: ServedAdapters | None = None
        self._with_base: set[VLLMServer] = set()  # the servers that hold the weights that adapters are added to
        if has_adapters(policy.model) and folder is not None:
            self._adapters = ServedAdapters(pool, policy, folder)

    def update(
        self, servers: Sequence[VLLMServer], weights: Iterator[NamedWeight], version: str
    ) -> dict[VLLMServer, int]:
        """Returns the servers that have the new weights, each with its maximum number of tokens.

        The other servers are excluded. All servers are resumed, whatever happens.

        Args:
            servers: The servers to update; no prompts are under way on them from here.
            weights: The weights.
            version: What the servers call these weights from then on.

        Raises:
            InputError: When a server cannot be used, or the weights cannot be sent.
            TransferBrokenError: When a server was lost in the transfer; the next call may succeed.
        """
        paused: list[VLLMServer] = []
        updated: dict[VLLMServer, None] = {}
        try:
            lengths = self._pool.each(servers, lambda server: self._pause(server, paused))
            if not lengths:
                return {}
            self._num_updates += 1
            lacking = [server for server in lengths if server not in self._with_base]
            given = self._send(weights, lacking) if lacking else {}
            loaded = [server for server in lengths if server in given or server not in lacking]
            if self._adapters is not None:
                loaded = self._adapters.send(version, loaded)
            self._version = version
            updated = self._pool.each(loaded, lambda server: self._prove(server, given.get(server)))
        finally:
            resumed = self._pool.each(paused, VLLMServer.resume)
        return {server: lengths[server] for server in updated if server in resumed}

    def close(self) -> None:
        """Frees what the transfer of weights holds, and removes files."""
        self._close_transfer()
        if self._adapters is not None:
            self._adapters.close()

    def _close_transfer(self) -> None:
        if self._transfer is not None:
            self._transfer.close()
            self._transfer = None

    def _send(
        self, weights: Iterator[NamedWeight], servers: Sequence[VLLMServer]
    ) -> dict[VLLMServer, dict[str, str] | None]:
        """Returns the servers that have loaded the weights, each with the checksums of these, unless not due."""
        by_dtype: dict[str, dict[str, str]] = {}  # checksums by name
        if self._are_checksums_due():
            by_dtype = {self._described[server].dtype: {} for server in servers}
        loaded = self._transfer_to(servers).send(_with_checksums(weights, by_dtype), servers)
        if self._adapters is not None:
            self._with_base.update(loaded)
            self._close_transfer()  # which needs as much room as the weights
        return {server: by_dtype.get(self._described[server].dtype) for server in loaded}

    def _are_checksums_due(self) -> bool:
        num_weights = sum(weight.numel() for weight in self._policy.model.parameters())
        is_small = num_weights * self._policy.engine_dtype.itemsize <= _MAX_BYTES_ALWAYS
        return is_small or self._num_updates <= 2 or self._num_updates % _CHECKSUM_EVERY == 0

    def _pause(self, server: VLLMServer, paused: list[VLLMServer]) -> int:
        """Pauses a server, and returns its maximum number of tokens of prompt and completion."""
        max_len = server.check()
        if server in self._described and server.weight_version() != self._version:  # it was started again
            del self._described[server]
            self._with_base.discard(server)
        if server not in self._described:
            self._described[server] = server.describe_weights()
            self._has_new_servers = True
        if self._adapters is not None:
            self._adapters.check(server, self._described[server])
        paused.append(server)
        server.pause()
        return max_len

    def _transfer_to(self, servers: Sequence[VLLMServer]) -> WeightTransfer:
        """Returns the transfer to these servers; another one if there are new servers."""
        if self._transfer is None or self._has_new_servers:
            self._close_transfer()
            described = [self._described[server] for server in servers]
            self._transfer = choose_transfer(self._pool, described, self._policy, self._folder, self._timeout_s)
            self._has_new_servers = False
        return self._transfer

    def _prove(self, server: VLLMServer, given: Mapping[str, str] | None) -> None:
        """Empties a server's cache, and checks that it has the weights it was given.

        Args:
            server: A server that has loaded all it was given.
            given: The checksums of the weights that it was given; None if they are not compared.

        Raises:
            ServerDownError: When it has others.
        """
        server.reset_prefix_cache()
        server.set_weight_version(self._version)
        if given is None or self._described[server].is_quantized:
            return
        checksums = Checksums(given, server.weight_checksums())
        stale = stale_weights(self._checksums.get(server, Checksums()), checksums)
        if stale:
            raise ServerDownError(f"it does not have the weights that it was given ({len(stale)}, such as {stale[0]})")
        self._checksums[server] = checksums


def _with_checksums(weights: Iterator[NamedWeight], given: Mapping[str, dict[str, str]]) -> Iterator[NamedWeight]:
    """Yields the weights, and adds the checksum of each to `given`, in each of its dtypes."""
    for name, weight in weights:
        for dtype, checksums in given.items():
            checksums[name] = weight_checksum(weight, getattr(torch, dtype))
        yield name, weight
