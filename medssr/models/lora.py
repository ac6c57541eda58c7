"""Low-rank adapters (LoRA, arXiv 2106.09685): trained in place of the weights that they are added to.

The adapters sit in the model's own layers, so that everything which takes a model takes one with adapters; switched
off, they leave the model as it was loaded.
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
from medssr.models.sharding import whole
from medssr.utils.seeding import derive_seed

_NAME = "default"  # peft's name of a model's only adapter
# What peft puts into the names of a weight that has an adapter, and of the adapter's own.
_BASE, _ADAPTER = ".base_layer.", ".lora_"


def add_adapters(model: Any, config: LoRAConfig, seed: int) -> None:
    """Puts adapters that change nothing yet into a model; from then on they alone are trained.

    Args:
        model: A causal language model, changed in place.
        config: Which layers have an adapter, and how large they are.
        seed: Run seed; the first weights of the adapters derive from it.

    Raises:
        InputError: When no layer has one of the configured names.
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
        if weight.requires_grad:  # the adapters; in bfloat16 small steps would be rounded away
            weight.data = weight.data.float()


@contextmanager
def without_adapters(model: Any) -> Iterator[None]:
    """Has the model compute, in the block, what it did before it got its adapters."""
    layers = [layer for _, layer in _adapted_layers(model)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def merged_weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Yields the model's weights by their names without adapters, each adapter added to its weight.

    Those of a model without adapters are its own. One merged weight is made at a time, and one that is spread over
    processes is put together: then all of them have to ask for all weights.
    """
    layers = dict(_adapted_layers(model))
    for name, weight in model.state_dict().items():
        if _ADAPTER in name:
            continue
        layer_name, is_adapted, kind = name.partition(_BASE)
        if is_adapted and kind == "weight":
            weight = (weight + layers[layer_name].get_delta_weight(_NAME)).to(weight.dtype)
        yield f"{layer_name}.{kind}" if is_adapted else name, whole(weight)


def save_adapters(model: Any, directory: Path) -> None:
    """Writes the adapters alone, where there are any, in the form that `peft.PeftModel.from_pretrained` reads."""
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
    if not hasattr(model, "peft_config"):  # nothing of peft is imported for a model that has none of its layers
        return
    from peft.tuners.lora import LoraLayer

    yield from ((name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer))
