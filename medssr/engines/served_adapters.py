"""How the policy's adapters get to servers: as files, each version in a folder and under a name of its own.

Requests name the version that they are to be answered with, so a server that has another refuses them. The name and the
folder also tell a version's entries in a server's prefix cache from those of others.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from medssr.engines.server_pool import ServerPool
from medssr.engines.vllm_requests import max_lora_rank
from medssr.engines.vllm_server import ServerWeights, VLLMServer
from medssr.errors import InputError
from medssr.models.lora import adapter_rank, save_adapters
from medssr.models.policy import Policy

# How the names of versions of this project begin.
VERSION_PREFIX = "medssr-"


class ServedAdapters:
    """Gives servers the policy's adapters, in place of earlier ones.

    Args:
        pool: The servers.
        policy: A policy with adapters.
        folder: A folder that the servers see under the same path.
    """

    def __init__(self, pool: ServerPool, policy: Policy, folder: Path) -> None:
        self._pool = pool
        self._policy = policy
        self._folder = folder / "adapters"
        self._written: Path | None = None

    def check(self, server: VLLMServer, described: ServerWeights) -> None:
        """Raises InputError if a server was started without the options for adapters of this rank."""
        limit, rank = described.max_lora_rank, adapter_rank(self._policy.model)
        if limit is None or limit < rank:
            taken = "no adapters" if limit is None else f"adapters up to rank {limit}"
            raise InputError(
                f"rollout.addresses: {server.address} takes {taken} while it runs, but the policy has some of rank "
                f"{rank}. Start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 and VLLM_SERVER_DEV_MODE=1 in its "
                f"environment, and --enable-lora --max-lora-rank {max_lora_rank(self._policy.model)}."
            )

    def send(self, version: str, servers: Sequence[VLLMServer]) -> list[VLLMServer]:
        """Returns the paused servers that have loaded the adapters under the name `version`; the others are excluded.

        Raises:
            InputError: When the files cannot be written, or a server does not find them or take such adapters.
        """
        folder, former = self._folder / version, self._written
        if folder != former:
            self._write(folder)
        loaded = self._pool.each(servers, lambda server: _load(server, version, folder))
        if former is not None and folder != former:
            shutil.rmtree(former, ignore_errors=True)
        return list(loaded)

    def close(self) -> None:
        """Removes the files."""
        if self._written is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._written = None

    def _write(self, folder: Path) -> None:
        from safetensors import SafetensorError

        try:
            if self._written is None and self._folder.exists():
                shutil.rmtree(self._folder)  # of a run that was killed
            save_adapters(self._policy.model, folder)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            problem = (
                f"the adapters could not be written there ({error}); make room, or give another folder that the "
                "servers see under the same path (with rollout=vllm_node by TMPDIR)."
            )
            raise InputError.at(folder, problem, field="rollout.weights_dir") from error
        self._written = folder


def _load(server: VLLMServer, version: str, folder: Path) -> None:
    for name in server.adapters():
        if name.startswith(VERSION_PREFIX):  # the version before, or one of a run that was killed
            server.unload_adapters(name)
    server.load_adapters(version, folder)
