"""Reads models in GGUF, the form of llama.cpp and Ollama: weights, tokenizer and chat template in one file."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from medssr.errors import InputError

_MAGIC = b"GGUF"
# What a file calls the fields of a Hugging Face config.json, after the name of its architecture and a dot.
_CONFIG_FIELDS = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "intermediate_size": "feed_forward_length",
}


def is_gguf(path: str | Path) -> bool:
    """Returns whether a path is a file with the suffix of GGUF."""
    return Path(path).suffix.lower() == ".gguf" and Path(path).is_file()


def gguf_arguments(path: Path) -> dict[str, str]:
    """Returns the arguments of `from_pretrained` that name a GGUF file.

    Raises:
        InputError: When the file is no GGUF file, or the package `gguf` is missing.
    """
    with path.open("rb") as stream:
        beginning = stream.read(len(_MAGIC))
    if beginning != _MAGIC:
        raise InputError.at(path, f"begins with {beginning!r}, so it is no GGUF file.", field="model.path")
    if find_spec("gguf") is None:
        raise InputError.at(
            path, 'GGUF files are read with the package gguf: pip install "medssr[gguf]"', field="model.path"
        )
    return {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}


def gguf_config(path: Path) -> dict[str, Any] | None:
    """Returns the fields of a `config.json` that determine the size of a GGUF file's model; None without `gguf`.

    Only the beginning of the file is read, and torch is not imported.
    """
    if find_spec("gguf") is None:
        return None
    from gguf import GGUFReader

    reader = GGUFReader(path)
    architecture = reader.fields["general.architecture"].contents()
    fields = {name: reader.get_field(f"{architecture}.{key}") for name, key in _CONFIG_FIELDS.items()}
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    return {name: field.contents() for name, field in fields.items() if field is not None} | {
        "model_type": architecture,
        "vocab_size": int(tensors["token_embd.weight"].shape[1]),
        "tie_word_embeddings": "output.weight" not in tensors,
    }


def forget_quantization(model: Any) -> None:
    """Makes a model of a GGUF file an ordinary one.

    transformers has turned its weights into floats, but still marks it as quantised, and would not save it.
    """
    if getattr(model.config, "quantization_config", None) is None:
        return
    del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model, "quantization_method"):
        del model.quantization_method
