"""Shards a model over processes (FSDP2): each holds a part of every weight, and layers are gathered to compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

_METHOD = "call_as_forward"


def shard(model: Any, mesh: Any, dtype: torch.dtype) -> None:
    """Shards a causal language model over processes, in place.

    Args:
        model: The model, whole and the same on every process, or without weights on every process (see `fill`).
        mesh: The device mesh, with one dimension.
        dtype: The dtype of computation; gradients are reduced in float32.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    precision = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    is_tied = head.weight is embedding.weight
    # A weight that two modules share has to be in the group of a module around both.
    groups = [*model.get_decoder().layers, *([] if is_tied else [embedding, head]), model]
    for module in groups:
        # Without this, torch keeps the outermost group gathered after a pass that has no backward pass.
        fully_shard(module, mesh=mesh, mp_policy=precision, reshard_after_forward=True)
    for module in [model] if is_tied else [model, head]:
        setattr(module, _METHOD, MethodType(lambda self, compute: compute(self), module))
        register_fsdp_forward_method(module, _METHOD)


def fill(models: Sequence[Any], load: Callable[[], Any], device: torch.device) -> None:
    """Gives sharded models without weights the weights of one whole model; all processes must call this.

    Only the first process loads the whole model. It sends one weight after the other to the others, each of which
    keeps its part in the number format of its model.

    Args:
        models: Sharded models with their weights on the meta device.
        load: Returns the whole model, on the CPU.
        device: Where the parts go.
    """
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

    whole = load().state_dict() if torch.distributed.get_rank() == 0 else {}
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    for model in models:
        buffers = [buffer.clone() for buffer in model.buffers()]
        model.to_empty(device=device)
        for buffer, values in zip(model.buffers(), buffers, strict=True):
            buffer.copy_(values)
        set_model_state_dict(model, dict(whole), options=options)


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
