"""Low-rank adapters (LoRA, arXiv 2106.09685): adds them to a model, disables, merges and saves them.

The adapters are part of the model's layers, so a model with adapters can be used like any other. With the adapters
disabled it computes what it did before they were added.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medssr.config import LoRAConfig
from medssr.errors import InputError
from medssr.models.sharding import full_weight
from medssr.utils.seeding import derive_seed

_NAME = "default"  # peft's name for the only adapter of a model
# Parts of the names that peft gives to adapted weights and to adapter weights.
_BASE, _ADAPTER = ".base_layer.", ".lora_"


def add_adapters(model: Any, config: LoRAConfig, seed: int) -> None:
    """Adds adapters to a model and freezes its other weights; the new adapters do not change the output yet.

    Args:
        model: A causal language model, changed in place.
        config: The adapted layers and the rank.
        seed: Run seed, which determines the initial weights of the adapters.

    Raises:
        InputError: When no layer has a configured name.
    """
    from peft import LoraConfig, inject_adapter_in_model

    targets = "all-linear" if config.target_modules is None else config.target_modules
    settings = LoraConfig(r=config.rank, lora_alpha=config.alpha, lora_dropout=0.0, bias="none", target_modules=targets)
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed, "lora"))
        try:
            inject_adapter_in_model(settings, model)
        except ValueError as error:
            raise InputError(f"lora.target_modules: {config.target_modules}: {error}") from error
    for weight in model.parameters():
        if weight.requires_grad:  # adapters are float32, because bfloat16 would round small updates away
            weight.data = weight.data.float()


@contextmanager
def disabled_adapters(model: Any) -> Iterator[None]:
    """Disables the adapters of the model within the block."""
    layers = [layer for _, layer in _adapted_layers(model)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def merged_weights(model: Any, dtype: torch.dtype | None = None) -> Iterator[tuple[str, Tensor]]:
    """Yields the names and weights of the model with its adapters merged into the weights.

    A model without adapters yields its weights. Merged weights are computed one at a time. Weights of a sharded model
    are gathered, so all processes must iterate over all weights.

    Args:
        model: A causal language model.
        dtype: The dtype of the yielded weights, which each process casts its shard to before they are gathered; None
            for the model's.
    """
    layers = dict(_adapted_layers(model))
    for name, weight in model.state_dict().items():
        if _ADAPTER in name:
            continue
        layer_name, is_adapted, kind = name.partition(_BASE)
        if is_adapted and kind == "weight":
            weight = (weight + layers[layer_name].get_delta_weight(_NAME)).to(weight.dtype)
        if dtype is not None and weight.is_floating_point():
            weight = weight.to(dtype)
        yield f"{layer_name}.{kind}" if is_adapted else name, full_weight(weight)


def save_adapters(model: Any, directory: Path) -> None:
    """Writes the adapters, if there are any, in the format that `peft.PeftModel.from_pretrained` reads."""
    if not hasattr(model, "peft_config"):
        return
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    directory.mkdir(parents=True, exist_ok=True)
    weights = get_peft_model_state_dict(model, adapter_name=_NAME)
    save_file(
        {f"base_model.model.{name}": weight.contiguous() for name, weight in weights.items()},
        directory / "adapter_model.safetensors",
    )
    settings = model.peft_config[_NAME]
    settings.base_model_name_or_path = model.name_or_path
    settings.save_pretrained(directory)


def _adapted_layers(model: Any) -> Iterator[tuple[str, Any]]:
    if not hasattr(model, "peft_config"):  # peft is not imported for a model without adapters
        return
    from peft.tuners.lora import LoraLayer

    yield from ((name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer))
