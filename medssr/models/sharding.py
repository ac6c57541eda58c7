"""Shards a model over processes (FSDP2): each holds a part of every weight, and layers are gathered to compute."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any, TypeVar

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor

T = TypeVar("T")

_METHOD = "call_as_forward"


class FSDP2(ModelParallelStrategy):
    """Lightning's strategy for FSDP2 with data parallelism over all processes, without tensor parallelism."""

    def setup_environment(self) -> None:
        """Initialises the process group with the sizes of the device mesh."""
        self._tensor_parallel_size = 1
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()


def shard(model: Any, mesh: Any, dtype: torch.dtype) -> None:
    """Shards a causal language model over processes, in place.

    Args:
        model: The full model, the same on every process.
        mesh: The device mesh, with one dimension.
        dtype: The dtype of computation; gradients are reduced in float32.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    precision = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    for layer in model.get_decoder().layers:
        fully_shard(layer, mesh=mesh, mp_policy=precision)
    fully_shard(model, mesh=mesh, mp_policy=precision)
    setattr(model, _METHOD, MethodType(lambda self, compute: compute(self), model))
    register_fsdp_forward_method(model, _METHOD)


def is_sharded(model: Any) -> bool:
    """Returns whether the model is sharded over processes."""
    return hasattr(model, _METHOD)


def architecture(model: Any) -> str:
    """Returns the name of the model's class; that of a sharded model is a subclass which FSDP2 has made."""
    return type(model).__name__.removeprefix("FSDP")


def call_as_forward(model: Any, compute: Callable[[Any], T]) -> T:
    """Returns `compute(model)`, called as a forward method, so that FSDP2 gathers the weights outside the layers.

    If the model is sharded, all processes must call this.
    """
    result: T = getattr(model, _METHOD)(compute) if is_sharded(model) else compute(model)
    return result


def full_weight(weight: Tensor) -> Tensor:
    """Returns the full tensor of a sharded weight; all processes must call this."""
    return weight.full_tensor() if hasattr(weight, "full_tensor") else weight
