"""Loads a causal language model from a folder, a GGUF file or the hub: whole, or without its weights."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import reduce
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.config import Dtype, ModelConfig
from medssr.errors import InputError
from medssr.models.gguf import forget_quantization, gguf_arguments, is_gguf

if TYPE_CHECKING:
    import torch

_WEIGHTS = "model.safetensors"
_INDEX = f"{_WEIGHTS}.index.json"


def load_model(config: ModelConfig, dtype: torch.dtype) -> Any:
    """Returns the model of a configuration, with weights from safetensors or GGUF and from nothing else.

    Args:
        config: The configuration of the model.
        dtype: The number format of the weights in memory, in place of the configured one.

    Raises:
        InputError: When a file is missing or damaged, or the hub has no such model or cannot be reached.
    """
    from transformers import AutoModelForCausalLM

    with pretrained(config) as source:
        model = AutoModelForCausalLM.from_pretrained(
            **source, dtype=dtype, attn_implementation=config.attn_implementation, use_safetensors=True
        )
    forget_quantization(model)
    _recompute_activations(model, config)
    return model


def empty_model(config: ModelConfig, dtype: torch.dtype) -> Any:
    """Returns the model of a configuration without its weights, which are on the meta device; buffers are on the CPU.

    It is what `load_model` returns in all other respects. A process that trains a part of each weight needs no more
    until the models of all processes are sharded.

    Raises:
        InputError: As `load_model`, so that every process finds a fault before they are joined.
    """
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    stored_dtype(config)
    with pretrained(config) as source:
        hub_config = AutoConfig.from_pretrained(**source)
        if hasattr(hub_config, "quantization_config"):  # of a GGUF file
            del hub_config.quantization_config
        with init_empty_weights(include_buffers=False):
            model = AutoModelForCausalLM.from_config(
                hub_config,
                dtype=dtype,
                attn_implementation=config.attn_implementation,
                trust_remote_code=config.trust_remote_code,
            )
    model.tie_weights()
    if not is_gguf(config.path):
        with suppress(OSError):  # there may be none, and the one that follows from the model's configuration stays
            model.generation_config = GenerationConfig.from_pretrained(config.path, revision=config.revision or "main")
    _recompute_activations(model, config)
    return model.eval()


def stored_dtype(config: ModelConfig) -> torch.dtype:
    """Returns the smallest number format that holds all stored weights exactly; float32 for GGUF.

    Downloads the weights if they are on the hub, and reads the headers of their files.

    Raises:
        InputError: When the weights are missing, or a file of them is damaged or not whole.
    """
    import torch
    from safetensors import safe_open

    dtypes: set[torch.dtype] = set()
    with pretrained(config):
        for file in [] if is_gguf(config.path) else _weight_files(config):
            with safe_open(file, framework="pt") as weights:
                dtypes |= {_dtype(weights.get_slice(name).get_dtype()) for name in weights.keys()}  # noqa: SIM118
    return reduce(torch.promote_types, dtypes) if dtypes else torch.float32


def torch_dtype(dtype: Dtype) -> torch.dtype:
    """Returns torch's object for a number format."""
    import torch

    torch_equivalent: torch.dtype = getattr(torch, dtype.value)
    return torch_equivalent


def _dtype(name: str) -> torch.dtype:
    """Returns the dtype of a name in safetensors; float32 for those that are no 16-bit floats."""
    import torch

    return {"BF16": torch.bfloat16, "F16": torch.float16}.get(name, torch.float32)


def _weight_files(config: ModelConfig) -> list[str]:
    """Returns the files of the weights on this machine: one, or those that an index names."""
    from transformers.utils.hub import cached_file

    def find(name: str, *, is_required: bool) -> str | None:
        path: str | None = cached_file(
            config.path, name, revision=config.revision, _raise_exceptions_for_missing_entries=is_required
        )
        return path

    single = find(_WEIGHTS, is_required=False)
    if single is not None:
        return [single]
    index = find(_INDEX, is_required=True)
    assert index is not None
    names = set(json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"].values())
    return [file for name in sorted(names) if (file := find(name, is_required=True)) is not None]


def _recompute_activations(model: Any, config: ModelConfig) -> None:
    if not config.gradient_checkpointing:  # which is only active in training, since generation sets evaluation mode
        return
    arguments = {} if config.recompute_every == 1 else {"every_n_layers": config.recompute_every}
    if not set(arguments) <= set(signature(model.gradient_checkpointing_enable).parameters):
        raise InputError(
            f"model.recompute_every: {config.recompute_every}, but this version of transformers can only recompute "
            "every layer; take 1, or upgrade transformers (5.19 can)."
        )
    model.gradient_checkpointing_enable({"use_reentrant": False}, **arguments)


@contextmanager
def pretrained(config: ModelConfig) -> Iterator[dict[str, Any]]:
    """Yields the arguments of `from_pretrained` for the policy, and turns its errors into an InputError."""
    from safetensors import SafetensorError

    try:
        path = (
            gguf_arguments(Path(config.path))
            if is_gguf(config.path)
            else {"pretrained_model_name_or_path": config.path}
        )
        yield {**path, "revision": config.revision, "trust_remote_code": config.trust_remote_code}
    except (OSError, ValueError, SafetensorError, LookupError, struct.error) as error:  # the last two: damaged GGUF
        raise InputError(
            f"model.path: {config.path} could not be loaded: {str(error).strip()} Expected a folder with config.json, "
            "safetensors and a tokenizer, a GGUF file, or a hub name that this machine can reach."
        ) from error


def check_folder(config: ModelConfig) -> None:
    """Raises InputError if the model's path is a folder that lacks its configuration, weights or tokenizer."""
    folder = Path(config.path)
    if not folder.is_dir():
        return
    if not (folder / "config.json").is_file():
        raise InputError.at(folder, "holds no config.json, so it is no checkpoint.", field="model.path")
    if not any(folder.glob("*.safetensors")):
        raise InputError.at(folder, "holds no *.safetensors, so it has no weights to load.", field="model.path")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
        raise InputError.at(folder, "holds no tokenizer.", field="model.path")
