"""How weights get from the trainer to servers: by a file that all of them read, or broadcast to them in packed parts.

The broadcast is vLLM's own weight transfer: for each part, a request tells the servers its names, dtypes and shapes,
while the trainer broadcasts its bytes in a group of processes that the servers have joined.
"""

from __future__ import annotations

import importlib.util
import logging
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import accumulate
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from medssr.engines.broadcast_groups import BroadcastGroup, GlooGroup, NCCLGroup
from medssr.engines.packed_weights import NamedWeight, PackedPart, packed_parts
from medssr.engines.server_pool import ServerPool, abort_requests
from medssr.engines.vllm_server import ServerDownError, ServerWeights, VLLMServer
from medssr.errors import InputError
from medssr.models.lora import base_weights
from medssr.models.policy import Policy
from medssr.utils.files import set_default_mode

log = logging.getLogger(__name__)

# Size in bytes of a packed part, which is vLLM's own.
_PART_BYTES = 2**30
# Seconds until the request to a server that has left the group must have failed.
_GRACE_S = 10.0
# Seconds between two looks at a broadcast.
_LOOK_S = 0.001


class TransferBrokenError(Exception):
    """A broadcast did not reach all servers, so that its group has to be built again."""


class WeightTransfer(Protocol):
    """Gives servers new weights."""

    def send(self, weights: Iterator[NamedWeight], servers: Sequence[VLLMServer]) -> list[VLLMServer]:
        """Returns the paused servers that have loaded the weights; the others are excluded.

        Raises:
            InputError: When the weights cannot be sent at all.
            TransferBrokenError: When they may have reached some servers; the next call may succeed.
        """
        ...

    def close(self) -> None:
        """Frees what the transfer holds."""
        ...


def pushed_weights(policy: Policy) -> Iterator[NamedWeight]:
    """Yields the weights that servers are given, in the dtype of engines, a tied head included; adapters are not.

    Weights of a sharded model are gathered, so all processes must iterate over all weights.
    """
    for name, weight in base_weights(policy.model, policy.engine_dtype):
        yield name, weight.detach()


class FileTransfer:
    """Writes the weights to a file, which all servers read at the same time.

    Args:
        pool: The servers.
        folder: A folder that the servers see under the same path.
    """

    def __init__(self, pool: ServerPool, folder: Path) -> None:
        self._pool = pool
        self._folder = folder / "trainer"

    def send(self, weights: Iterator[NamedWeight], servers: Sequence[VLLMServer]) -> list[VLLMServer]:
        """Returns the servers that have read the weights (see WeightTransfer)."""
        _write(weights, self._folder)
        return list(self._pool.each(servers, lambda server: server.reload_weights(self._folder)))

    def close(self) -> None:
        """Removes the file."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _write(weights: Iterator[NamedWeight], folder: Path) -> None:
    """Writes a safetensors file to a folder.

    Raises:
        InputError: When writing fails.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    copies: dict[str, Tensor] = {}
    addresses: set[int] = set()
    for name, weight in weights:
        copy = weight.cpu().contiguous()
        if copy.data_ptr() in addresses:  # a tied head: safetensors refuses weights that share memory
            copy = copy.clone()
        addresses.add(copy.data_ptr())
        copies[name] = copy
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Replaced by renaming, so that a server that still reads the old file is not disturbed.
        save_file(copies, folder / "unfinished")
        set_default_mode(folder / "unfinished")  # servers may run under another user
        (folder / "unfinished").replace(folder / "model.safetensors")
    except (OSError, SafetensorError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        num_bytes = sum(copy.nbytes for copy in copies.values())
        problem = (
            f"the weights could not be written there ({error}). They need {2 * num_bytes / 1e9:.1f} GB, for the new "
            "and the old ones; make room, or give another folder that the servers see under the same path (with "
            "rollout=vllm_node by TMPDIR)."
        )
        raise InputError.at(folder, problem, field="rollout.weights_dir") from error


class BroadcastTransfer:
    """Broadcasts the weights to all servers at once.

    Args:
        pool: The servers.
        group: Makes the group of the trainer and the servers' processes.
        device: The device that the group sends from.
        timeout_s: Time-out in seconds of joining the group, and of sending a part.
    """

    def __init__(
        self,
        pool: ServerPool,
        group: Callable[[str, int, int, torch.device, float], BroadcastGroup],
        device: torch.device,
        timeout_s: float,
    ) -> None:
        self._pool = pool
        self._make_group = group
        self._device = device
        self._timeout_s = timeout_s
        self._group: BroadcastGroup | None = None
        self._members: list[VLLMServer] = []
        self._lost_before: dict[str, str] = {}  # why members that have come back were lost, by address

    def send(self, weights: Iterator[NamedWeight], servers: Sequence[VLLMServer]) -> list[VLLMServer]:
        """Returns the servers that have received the weights (see WeightTransfer)."""
        try:
            if self._group is None or self._members != list(servers):
                self._join(servers)
            self._check_all(self._pool.each(self._members, VLLMServer.start_update))
            for part in packed_parts(weights, _PART_BYTES):
                self._send_part(part)
            finished = self._pool.each(self._members, VLLMServer.finish_update)
            self._check_all(finished)
        except BaseException:
            self._leave(VLLMServer.finish_update, VLLMServer.leave_transfer)
            raise
        return list(finished)

    def close(self) -> None:
        """Makes all leave the group."""
        self._leave(VLLMServer.leave_transfer)

    def _leave(self, *parts: Callable[[VLLMServer], None]) -> None:
        """Ends what is under way in the group, and makes its servers do their parts, where they can."""
        if self._group is not None:
            self._group.close()

        def leave(server: VLLMServer) -> None:
            for part in parts:
                with suppress(ServerDownError, InputError):  # it may have left already
                    part(server)

        lost, before = self._pool.lost, self._lost_before
        self._pool.each([one for one in self._members if lost.get(one.address) == before.get(one.address)], leave)
        self._group, self._members = None, []

    def _join(self, servers: Sequence[VLLMServer]) -> None:
        """Builds a group with the servers."""
        self.close()
        self._members, self._lost_before = list(servers), dict(self._pool.lost)
        sizes = self._pool.each(servers, VLLMServer.num_workers)
        self._check_all(sizes)
        ranks = dict(zip(servers, accumulate((sizes[server] for server in servers), initial=1), strict=False))
        host, port, num_processes = _own_address(servers), _free_port(), 1 + sum(sizes.values())

        def join(server: VLLMServer) -> None:
            server.join_transfer(
                {
                    "master_address": host,
                    "master_port": port,
                    "rank_offset": ranks[server],
                    "world_size": num_processes,
                    "packed": True,
                    "packed_buffer_size_bytes": _PART_BYTES,
                }
            )

        with self._requests(join) as requests:
            made = _in_thread(lambda: self._make_group(host, port, num_processes, self._device, self._timeout_s))
            self._wait(made.done, requests, "no group for the transfer of weights was built")
            try:
                self._group = made.result()
            except (RuntimeError, OSError, ImportError) as error:
                raise InputError(
                    f"rollout: no group for the transfer of weights could be built with the servers ({error}). Start "
                    "your own servers without --weight-transfer-config, and the weights go by file, as is needed where "
                    "a server uses the trainer's GPU; in place of rollout=vllm_node take rollout=vllm."
                ) from error
            self._wait(lambda: all(request.done() for request in requests), requests, "not all servers joined")

    def _send_part(self, part: PackedPart) -> None:
        info = {"names": part.names, "dtype_names": part.dtype_names, "shapes": part.shapes}
        assert self._group is not None
        with self._requests(lambda server: server.receive_weights(info)) as requests:
            buffer = part.buffer.to(self._device)  # kept until all have received it
            self._wait(self._group.start(buffer), requests, "a part of the weights was not sent")
            self._wait(lambda: all(request.done() for request in requests), requests, "a part was not received")

    @contextmanager
    def _requests(self, ask: Callable[[VLLMServer], None]) -> Iterator[list[Future[None]]]:
        """Yields a request to each member that is under way; they are ended if the block raises."""
        with ThreadPoolExecutor(len(self._members)) as threads:
            requests = [threads.submit(ask, server) for server in self._members]
            try:
                yield requests
            except BaseException:
                abort_requests(self._members, requests)
                raise

    def _wait(self, is_done: Callable[[], bool], requests: Sequence[Future[None]], problem: str) -> None:
        """Returns when `is_done`.

        Raises:
            TransferBrokenError: When a request fails, the group breaks or time is up before; the servers that are to
                blame are excluded, at least one.
            InputError: When a server refuses its request.
        """
        deadline = time.monotonic() + self._timeout_s
        is_broken = False
        while not any(request.done() and request.exception() is not None for request in requests):
            try:
                if not is_broken and is_done():
                    return
            except RuntimeError as error:  # a server has left the group, and its request is about to fail
                problem, is_broken = f"{problem} ({error})", True
                deadline = min(deadline, time.monotonic() + _GRACE_S)
            if time.monotonic() > deadline:
                break
            time.sleep(_LOOK_S)
        ended = {server: request for server, request in zip(self._members, requests, strict=True) if request.done()}
        faults = {server: fault for server, request in ended.items() if (fault := request.exception()) is not None}
        refusals = [fault for fault in faults.values() if not isinstance(fault, ServerDownError)]
        if refusals:
            raise refusals[0]
        for server in faults or self._members:
            self._pool.exclude(server, str(faults.get(server, f"{problem} within {self._timeout_s:g} s")))
        raise TransferBrokenError(problem)

    def _check_all(self, survivors: Iterable[VLLMServer]) -> None:
        """Raises TransferBrokenError if a member is not among the survivors."""
        if set(self._members) - set(survivors):
            raise TransferBrokenError("a server was lost while weights were sent")


def _in_thread(make: Callable[[], BroadcastGroup]) -> Future[BroadcastGroup]:
    """Runs `make` in a thread that does not keep the process from ending: it may hang where a server is lost."""
    future: Future[BroadcastGroup] = Future()

    def run() -> None:
        try:
            future.set_result(make())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def choose_transfer(
    pool: ServerPool, described: Iterable[ServerWeights], policy: Policy, folder: Path | None, timeout_s: float
) -> WeightTransfer:
    """Returns a broadcast where trainer and all servers can take part in one, else a file.

    Raises:
        InputError: When a file is needed and there is no folder for it.
    """
    kinds = {server.transfer for server in described}
    device = policy.model.device
    if kinds == {"nccl"} and device.type == "cuda":
        if importlib.util.find_spec("vllm") is not None:
            return BroadcastTransfer(pool, NCCLGroup, device, timeout_s)
        log.warning("vLLM is not installed here, so servers are given weights by file and not by NCCL")
    if kinds == {"gloo"}:
        return BroadcastTransfer(pool, GlooGroup, torch.device("cpu"), timeout_s)
    if folder is None:
        raise InputError(
            "rollout.weights_dir: is needed for training, since servers are given weights there; only servers with "
            "--weight-transfer-config on other GPUs than the trainer's do without it."
        )
    return FileTransfer(pool, folder)


def _own_address(servers: Sequence[VLLMServer]) -> str:
    """Returns the address under which the servers, some of them on other machines, can reach this one."""
    own_addresses = []
    for server in servers:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((server.host, 9))  # of UDP: nothing is sent
            own_addresses.append(str(probe.getsockname()[0]))
    return next((address for address in own_addresses if not address.startswith("127.")), own_addresses[0])


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("", 0))
        return int(listener.getsockname()[1])
