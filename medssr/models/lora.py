"""Low-rank adapters (LoRA, arXiv 2106.09685): adds them to a model, loads, saves and merges them.

The adapters are part of the model's layers, so a model with adapters can be used like any other. Its layers add up the
outputs of weights and adapters, so small adapters are not lost where the weights are rounded to 16 bits.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medssr.config import LoRAConfig
from medssr.errors import InputError
from medssr.models.sharding import full_weight
from medssr.utils.files import set_default_mode
from medssr.utils.seeding import derive_seed

SETTINGS_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
# peft's names of the adapters: those that are used and trained, and a frozen copy of those that training started from.
_NAME, _INITIAL = "default", "initial"
# Parts of the names that peft gives to adapted weights and to adapter weights, and the beginning of names in its files.
_BASE, _ADAPTER, _PREFIX = ".base_layer.", ".lora_", "base_model.model."
# Fields of adapter_config.json that change the sizes or the formula of adapters; none of them may be set.
_VARIANTS = ("modules_to_save", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "use_qalora", "lora_bias")


def has_adapters(model: Any) -> bool:
    """Returns whether the model has adapters."""
    return hasattr(model, "peft_config")


def adapter_rank(model: Any) -> int:
    """Returns the rank of the model's adapters."""
    return int(model.peft_config[_NAME].r)


def add_adapters(model: Any, config: LoRAConfig, seed: int) -> None:
    """Adds adapters to a model and freezes its other weights; the new adapters do not change the output yet.

    Args:
        model: A causal language model, changed in place.
        config: The adapted layers and the rank.
        seed: Run seed, which determines the initial weights of the adapters.

    Raises:
        InputError: When no layer has a configured name.
    """
    from peft import LoraConfig

    targets = "all-linear" if config.target_modules is None else config.target_modules
    settings = LoraConfig(r=config.rank, lora_alpha=config.alpha, lora_dropout=0.0, bias="none", target_modules=targets)
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed, "lora"))
        try:
            _inject(model, settings, _NAME)
        except ValueError as error:
            raise InputError(f"lora.target_modules: {config.target_modules}: {error}") from error
    for _, layer in _adapted_layers(model):
        layer.register_forward_pre_hook(_leave_cast_to_autocast)


def attach_adapters(model: Any, folder: Path) -> None:
    """Adds the adapters of a folder to a model, and freezes all weights.

    Raises:
        InputError: When the folder holds no adapters, or adapters of another model.
    """
    config = read_adapter_settings(folder)
    try:
        add_adapters(model, config, seed=0)
    except InputError as error:
        problem = f"names layers that the model does not have: {config.target_modules}; take the model it was made for."
        raise InputError.at(folder / SETTINGS_FILE, problem, field="model.adapter_path") from error
    load_adapters(model, folder)
    model.requires_grad_(False)


def load_adapters(model: Any, folder: Path) -> None:
    """Replaces the weights of the model's adapters by those of a folder.

    Raises:
        InputError: When they have other layers or sizes.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = folder / WEIGHTS_FILE
    try:
        given = load_file(file)
    except (OSError, SafetensorError) as error:
        raise InputError.at(file, f"cannot be read ({error}).", field="model.adapter_path") from error
    held = adapter_weights(model)
    shapes = [{name: list(weight.shape) for name, weight in weights.items()} for weights in (given, held)]
    differing = [name for name in sorted(held.keys() | given.keys()) if shapes[0].get(name) != shapes[1].get(name)]
    if differing:
        in_file, in_model = (each.get(differing[0], "absent") for each in shapes)
        problem = (
            f"does not fit the model's adapters: {differing[0]} is {in_file} in the file and {in_model} in the model. "
            "Take the base model that the adapters were trained on, and to train them further their target_modules."
        )
        raise InputError.at(file, problem, field="model.adapter_path")
    for name, weight in held.items():
        weight.copy_(given[name])


def read_adapter_settings(folder: Path) -> LoRAConfig:
    """Returns the rank and the adapted layers of the adapters in a folder that peft or this project wrote.

    Raises:
        InputError: When the folder holds no adapters, or those of a variant of LoRA.
    """
    file = folder / SETTINGS_FILE
    for needed in (file, folder / WEIGHTS_FILE):
        if not needed.is_file():
            raise InputError.at(needed, "there is no such file, so no adapters.", field="model.adapter_path")
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
        rank, alpha, targets = settings["r"], settings["lora_alpha"], settings["target_modules"]
    except (ValueError, KeyError, TypeError) as error:
        problem = f"is no configuration of LoRA adapters ({type(error).__name__}: {error})."
        raise InputError.at(file, problem, field="model.adapter_path") from error
    variants = [name for name in _VARIANTS if settings.get(name)]
    if variants or not isinstance(targets, list):
        problem = f"has {variants[0]}" if variants else f"has target_modules={targets}, no list of names"
        advice = "plain LoRA adapters are supported; merge others into the model with peft, and give model.path."
        raise InputError.at(file, f"{problem}; {advice}", field="model.adapter_path")
    return LoRAConfig(rank, alpha, targets)


def check_continued(lora: LoRAConfig, folder: Path) -> None:
    """Checks that adapters of a folder can be trained further with the configured rank and scale.

    Raises:
        InputError: When they cannot.
    """
    stored = read_adapter_settings(folder)
    if (lora.rank, lora.alpha) != (stored.rank, stored.alpha):
        raise InputError(
            f"lora.rank: {lora.rank} with lora.alpha={lora.alpha}, but training goes on with the adapters of {folder}, "
            f"which have rank {stored.rank} and alpha {stored.alpha}; give these, or model.path=FOLDER of the merged "
            "model in place of model.adapter_path, for new adapters."
        )


def keep_initial_adapters(model: Any) -> None:
    """Adds a frozen copy of the model's adapters, which `initial_adapters` uses."""
    # Draws weights that are replaced at once, and warns that there are adapters already.
    with torch.random.fork_rng(), warnings.catch_warnings(action="ignore"):
        _inject(model, deepcopy(model.peft_config[_NAME]), _INITIAL)
    copied = adapter_weights(model, _INITIAL)
    for name, weight in adapter_weights(model).items():
        copied[name].copy_(weight)
    for _, layer in _adapted_layers(model):
        layer.set_adapter(_NAME)


@contextmanager
def initial_adapters(model: Any) -> Iterator[None]:
    """Lets the model compute as at the start of training within the block: with the frozen copy of its adapters.

    Without a copy, training began with new adapters. They change nothing, so adapters are disabled.
    """
    layers = [layer for _, layer in _adapted_layers(model)]
    has_copy = has_adapters(model) and _INITIAL in model.peft_config
    for layer in layers:
        layer.set_adapter(_INITIAL, inference_mode=True) if has_copy else layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.set_adapter(_NAME) if has_copy else layer.enable_adapters(True)


def merged_weights(model: Any, dtype: torch.dtype | None = None) -> Iterator[tuple[str, Tensor]]:
    """Yields the names and weights of the model with its adapters merged into the weights.

    A model without adapters yields its weights. Merged weights are computed one at a time. Weights of a sharded model
    are gathered, so all processes must iterate over all weights.

    Args:
        model: A causal language model, with adapters or not.
        dtype: What weights are rounded to, which each process does to its shard before they are gathered; None: the
            dtype that each has in the model.
    """
    layers = dict(_adapted_layers(model))
    for name, weight in model.state_dict().items():
        if _ADAPTER in name:
            continue
        layer_name, is_adapted, kind = name.partition(_BASE)
        merged = weight
        if is_adapted and kind == "weight":
            merged = weight + layers[layer_name].get_delta_weight(_NAME)
        if weight.is_floating_point():
            merged = merged.to(dtype or weight.dtype)
        yield f"{layer_name}.{kind}" if is_adapted else name, full_weight(merged)


def base_weights(model: Any, dtype: torch.dtype | None = None) -> Iterator[tuple[str, Tensor]]:
    """Yields the names and weights of the model without its adapters; the rest is as in `merged_weights`."""
    for name, weight in model.state_dict().items():
        if _ADAPTER not in name:
            rounded = weight.to(dtype) if dtype is not None and weight.is_floating_point() else weight
            yield name.replace(_BASE, "."), full_weight(rounded)


def kept_share(model: Any, dtype: torch.dtype) -> float:
    """Returns the share of the adapters' change that is left in merged weights that are rounded to a number format.

    It is <round(W + D) - W, D> / <D, D> over all adapted weights W and their changes D = alpha / rank B A: 1 if nothing
    is lost, and near 0 if changes are mostly smaller than half the distance of neighbouring numbers around the weight.
    1 for adapters that change nothing.
    """
    along, norm = 0.0, 0.0
    for _, layer in _adapted_layers(model):
        weight = layer.get_base_layer().weight.detach().float()
        change = layer.get_delta_weight(_NAME).detach().float()
        rounded = (weight + change).to(dtype).float() - weight
        along += (rounded * change).sum(dtype=torch.float64).item()
        norm += change.square().sum(dtype=torch.float64).item()
    return along / norm if norm > 0 else 1.0


def adapter_weights(model: Any, name: str = _NAME) -> dict[str, Tensor]:
    """Returns the weights of the model's adapters by the names that peft gives them in files."""
    from peft import get_peft_model_state_dict

    weights = get_peft_model_state_dict(model, adapter_name=name)
    return {f"{_PREFIX}{key}": weight for key, weight in weights.items()}


def save_adapters(model: Any, directory: Path) -> None:
    """Writes the adapters, if there are any, in the format that `peft.PeftModel.from_pretrained` reads."""
    if not has_adapters(model):
        return
    from safetensors.torch import save_file

    directory.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.contiguous() for name, weight in adapter_weights(model).items()}
    save_file(weights, directory / WEIGHTS_FILE)
    set_default_mode(directory / WEIGHTS_FILE)  # servers may run under another user
    settings = model.peft_config[_NAME]
    settings.base_model_name_or_path = model.name_or_path
    settings.save_pretrained(directory)


def _inject(model: Any, settings: Any, name: str) -> None:
    """Adds adapters to the layers that the settings name, in float32: bfloat16 would round small updates away."""
    from peft import inject_adapter_in_model

    inject_adapter_in_model(settings, model, adapter_name=name)
    for weight_name, weight in model.named_parameters():
        if _ADAPTER in weight_name:
            weight.data = weight.data.float()


def _leave_cast_to_autocast(layer: Any, inputs: tuple[Tensor, ...]) -> None:
    """Lets peft cast a layer's input to the adapters' float32 only where autocast does not cast it back at once."""
    layer.cast_input_dtype_enabled = not torch.is_autocast_enabled(inputs[0].device.type)


def _adapted_layers(model: Any) -> Iterator[tuple[str, Any]]:
    if not has_adapters(model):  # peft is not imported for a model without adapters
        return
    from peft.tuners.lora import LoraLayer

    yield from ((name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer))
