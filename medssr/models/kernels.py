"""Faster layers for the update: layers that torch compiles, and the fused kernels of Liger."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from importlib.util import find_spec
from typing import Any

import torch

from medssr.config import ModelConfig
from medssr.errors import InputError


def use_kernels(model: Any, config: ModelConfig) -> None:
    """Makes the layers of a model that is trained, or that one is compared with, faster as configured, in place.

    Raises:
        InputError: When the package of the kernels is missing, or has none for the model.
    """
    if config.liger_kernels:
        _use_liger(model)
    if config.compile_layers:
        for layer in model.get_decoder().layers:
            layer.forward = _compiled_for_packed_rows(layer.forward)


def _compiled_for_packed_rows(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a layer's forward method that is compiled for packed rows of any length; else it is as it was.

    The method is replaced, and not the module, so that names of weights stay as they are, and that hooks, by which
    FSDP2 gathers weights and activation checkpointing recomputes layers, stay around what is compiled. Attention is
    left out of it: it has blocks of other shapes for each row, or is compiled by itself (`medssr.models.attention`).
    Padded rows and rollouts, whose shapes change from token to token, are not compiled.
    """
    compiled = torch.compile(forward, dynamic=True)

    @wraps(forward)
    def chosen(*arguments: Any, **settings: Any) -> Any:
        return (forward if settings.get("packed_blocks") is None else compiled)(*arguments, **settings)

    return chosen


def _use_liger(model: Any) -> None:
    """Replaces normalisation and feed-forward network of each layer by kernels of Liger (arXiv 2410.10989).

    Its loss is not used, which keeps no log-probs, nor its rotary embedding, which would change all models of the
    family in this process.
    """
    if find_spec("liger_kernel") is None:
        problem = 'true, but the package liger-kernel is not installed: pip install "medssr[liger]"'
        raise InputError.at("model.liger_kernels", problem)
    from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN

    apply = MODEL_TYPE_TO_APPLY_LIGER_FN.get(model.config.model_type)
    if apply is None:
        problem = f"true, but Liger has no kernels for {model.config.model_type}; take false."
        raise InputError.at("model.liger_kernels", problem)
    apply(rope=False, cross_entropy=False, fused_linear_cross_entropy=False, model=model)
