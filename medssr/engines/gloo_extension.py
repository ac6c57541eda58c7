"""For vLLM servers on CPUs: receives weights by broadcasts over gloo, as servers on GPUs do over NCCL.

A server loads this module when it is started with both of:
    --weight-transfer-config '{"backend": "gloo"}'
    --worker-extension-cls medssr.engines.gloo_extension.GlooExtension
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import torch
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
from vllm.distributed.weight_transfer.nccl_engine import NCCLWeightTransferEngine
from vllm.distributed.weight_transfer.packed_tensor import unpack_tensor

# Of one broadcast: of a part of a gigabyte.
_TIMEOUT = timedelta(minutes=2)


class GlooExtension:
    """Adds nothing to vLLM's workers: that they import this module is enough."""


class GlooTransferEngine(NCCLWeightTransferEngine):  # type: ignore[misc] # of an untyped package
    """Receives packed parts of weights from the trainer, which is the first process of a gloo group."""

    def init_transfer_engine(self, init_info: Any) -> None:
        """Joins the group; `init_info` is that of vLLM's `nccl`."""
        dist: Any = torch.distributed
        parallel = self.parallel_config
        rank = init_info.rank_offset + parallel.data_parallel_index * parallel.world_size + parallel.rank
        store = dist.TCPStore(init_info.master_address, init_info.master_port, is_master=False, timeout=_TIMEOUT)
        self.model_update_group = dist.ProcessGroupGloo(store, rank, init_info.world_size, _TIMEOUT)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Receives one part and loads it."""
        self.receive_weights(self.parse_update_info(update_info))

    def receive_weights(self, update_info: Any) -> None:
        """Receives one part and loads it."""
        dtypes = [getattr(torch, name) for name in update_info.dtype_names]
        rows = zip(update_info.shapes, dtypes, strict=True)
        sizes = [torch.Size(shape).numel() * dtype.itemsize for shape, dtype in rows]
        buffer = torch.empty(sum(sizes), dtype=torch.uint8)
        self.model_update_group.broadcast(buffer, 0).wait()  # within the time-out of the group
        self.model.load_weights(unpack_tensor(buffer, update_info.names, update_info.shapes, dtypes, sizes))

    def shutdown(self) -> None:
        """Leaves the group."""
        if self.model_update_group is not None:
            self.model_update_group.abort()
            self.model_update_group = None


WeightTransferEngineFactory.register_engine("gloo", GlooTransferEngine)
