"""A model spread over processes (FSDP2): each holds a part of every weight, and layers are put together as they run."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any, TypeVar

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor

T = TypeVar("T")

_METHOD = "compute_whole"


class FSDP2(ModelParallelStrategy):
    """Lightning's strategy for FSDP2, over all processes: Lightning's own defaults split each layer within a node."""

    def setup_environment(self) -> None:
        """Joins the processes."""
        self._tensor_parallel_size = 1
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()


def shard(model: Any, mesh: Any, dtype: torch.dtype) -> None:
    """Spreads a causal language model over processes, in place.

    Args:
        model: Whole, the same on every process.
        mesh: The processes, of one dimension.
        dtype: What layers compute in; gradients are summed up in float32.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    precision = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    for layer in model.get_decoder().layers:
        fully_shard(layer, mesh=mesh, mp_policy=precision)
    fully_shard(model, mesh=mesh, mp_policy=precision)
    setattr(model, _METHOD, MethodType(lambda self, compute: compute(self), model))
    register_fsdp_forward_method(model, _METHOD)


def is_sharded(model: Any) -> bool:
    """Returns whether the model is spread over processes."""
    return hasattr(model, _METHOD)


def computed(model: Any, compute: Callable[[Any], T]) -> T:
    """Returns what `compute` makes of a model, whose weights outside its layers are whole meanwhile.

    Where the model is spread over processes, all of them have to compute.
    """
    result: T = getattr(model, _METHOD)(compute) if is_sharded(model) else compute(model)
    return result


def whole(weight: Tensor) -> Tensor:
    """Returns a weight put together on every process; all of them have to ask."""
    return weight.full_tensor() if hasattr(weight, "full_tensor") else weight
