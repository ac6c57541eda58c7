"""The strategy of Lightning under which models are sharded over processes."""

from __future__ import annotations

from lightning.pytorch.strategies import ModelParallelStrategy


class FSDP2(ModelParallelStrategy):
    """Lightning's strategy for FSDP2 with data parallelism over all processes, without tensor parallelism."""

    def setup_environment(self) -> None:
        """Initialises the process group with the sizes of the device mesh."""
        self._tensor_parallel_size = 1
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()
