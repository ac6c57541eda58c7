"""Groups of the trainer and the servers' processes, in which weights are broadcast: NCCL on GPUs, gloo on CPUs."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol

import torch
from torch import Tensor

from medssr.engines.vllm_process import preserve_process_state


class BroadcastGroup(Protocol):
    """The trainer, as the first, and the processes of the servers."""

    def start(self, buffer: Tensor) -> Callable[[], bool]:
        """Starts to send the buffer, and returns what tells whether it was sent."""
        ...

    def close(self) -> None:
        """Leaves the group, and ends what is under way in it."""
        ...


class NCCLGroup:
    """A group on GPUs, as vLLM's transfer `nccl` joins it. It needs vLLM here too."""

    def __init__(self, host: str, port: int, num_processes: int, device: torch.device, timeout_s: float) -> None:
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        with preserve_process_state(), torch.cuda.device(device):
            from vllm.distributed.weight_transfer.nccl_common import trainer_init

            self._communicator: Any = trainer_init(
                {"master_address": host, "master_port": port, "world_size": num_processes}
            )
        if self._communicator.disabled:
            raise RuntimeError("the NCCL library cannot be loaded here")

    def start(self, buffer: Tensor) -> Callable[[], bool]:
        """Starts to send the buffer (see BroadcastGroup)."""
        with torch.cuda.device(buffer.device):
            self._communicator.broadcast(buffer, src=0, stream=torch.cuda.current_stream())
            event = torch.cuda.Event()
            event.record()
        return event.query

    def close(self) -> None:
        """Leaves the group (see BroadcastGroup)."""
        self._communicator.destroy()


class GlooGroup:
    """A group on CPUs, as servers with the extension of `gloo_extension.py` join it."""

    def __init__(self, host: str, port: int, num_processes: int, device: torch.device, timeout_s: float) -> None:
        dist: Any = torch.distributed
        timeout = timedelta(seconds=timeout_s)
        store = dist.TCPStore(host, port, num_processes, is_master=True, timeout=timeout, wait_for_workers=False)
        self._group: Any = dist.ProcessGroupGloo(store, 0, num_processes, timeout)

    def start(self, buffer: Tensor) -> Callable[[], bool]:
        """Starts to send the buffer (see BroadcastGroup)."""
        work = self._group.broadcast(buffer, 0)

        def is_sent() -> bool:
            if not work.is_completed():
                return False
            work.wait()  # raises RuntimeError if a server has left
            return True

        return is_sent

    def close(self) -> None:
        """Leaves the group (see BroadcastGroup)."""
        self._group.abort()
