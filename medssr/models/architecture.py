"""Computes the size of a language model from its architecture, without loading weights or importing torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.config.catalog import CONF_DIR
from medssr.errors import InputError
from medssr.models.gguf import gguf_config, is_gguf

if TYPE_CHECKING:
    from medssr.models.meta_model import MeasuredModel

_FAMILIES = ("llama", "qwen3", "qwen3_moe")
_HEADER_LENGTH_BYTES = 8


@dataclass(frozen=True, slots=True)
class Architecture:
    """The architecture of a decoder of the Llama, Qwen3 or Qwen3-MoE family.

    Attributes:
        vocab_size: Number of rows of the embedding.
        width: Size of a hidden state.
        num_layers: Number of decoder layers.
        num_heads: Number of query heads of a layer.
        num_kv_heads: Number of key-value heads of a layer.
        head_dim: Size of a head.
        mlp_width: Inner size of the feed-forward network, or of each expert.
        num_experts: Number of experts of a layer; 0 for a dense model.
        num_active_experts: Number of experts that compute each token; 0 for a dense model.
        is_tied: Whether the head shares the embedding's weights.
        has_head_norms: Whether queries and keys are normalised, as in Qwen3.
    """

    vocab_size: int
    width: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    mlp_width: int
    num_experts: int
    num_active_experts: int
    is_tied: bool
    has_head_norms: bool

    @property
    def linear_layers(self) -> dict[str, tuple[int, int]]:
        """The (input, output) sizes of the linear maps of a decoder layer by name, without experts and router."""
        queries, keys = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        attention = {
            "q_proj": (self.width, queries),
            "k_proj": (self.width, keys),
            "v_proj": (self.width, keys),
            "o_proj": (queries, self.width),
        }
        if self.num_experts:
            return attention
        return attention | {
            "gate_proj": (self.width, self.mlp_width),
            "up_proj": (self.width, self.mlp_width),
            "down_proj": (self.mlp_width, self.width),
        }

    @property
    def num_layer_outputs(self) -> int:
        """The number of outputs of a layer's linear maps for one token."""
        outputs = sum(outputs for _, outputs in self.linear_layers.values())
        return outputs + self.num_active_experts * (2 * self.mlp_width + self.width)

    @property
    def layer_parameters(self) -> int:
        """The number of weights of one decoder layer."""
        layer = sum(inputs * outputs for inputs, outputs in self.linear_layers.values()) + 2 * self.width
        if self.has_head_norms:
            layer += 2 * self.head_dim
        if self.num_experts:
            layer += self.num_experts * (self.width + 3 * self.width * self.mlp_width)  # the router's row; the expert
        return layer

    @property
    def num_active_layer_weights(self) -> int:
        """The number of weights of one decoder layer that are multiplied with each token: no norms, chosen experts."""
        weights = sum(inputs * outputs for inputs, outputs in self.linear_layers.values())
        return weights + self.num_experts * self.width + self.num_active_experts * 3 * self.width * self.mlp_width

    @property
    def num_parameters(self) -> int:
        """The number of weights: embedding, layers, last norm, and the head if it is not tied."""
        embeddings = self.vocab_size * self.width * (1 if self.is_tied else 2)
        return embeddings + self.num_layers * self.layer_parameters + self.width

    def num_adapter_parameters(self, rank: int, target_modules: list[str] | None) -> int:
        """Returns the number of weights of low-rank adapters: rank x (inputs + outputs) for each adapted layer.

        Args:
            rank: The rank of the adapters.
            target_modules: Names of the adapted linear maps; None for all.
        """
        adapted = [
            size for name, size in self.linear_layers.items() if target_modules is None or name in target_modules
        ]
        return self.num_layers * rank * sum(inputs + outputs for inputs, outputs in adapted)


def from_config(config: Mapping[str, Any]) -> Architecture | None:
    """Returns the architecture that a `config.json` describes; None for an unsupported family.

    Raises:
        KeyError: When a field is missing.
    """
    if config.get("model_type") not in _FAMILIES or config.get("attention_bias") or config.get("mlp_bias"):
        return None
    has_experts = config["model_type"] == "qwen3_moe"
    if has_experts and (config.get("mlp_only_layers") or config.get("decoder_sparse_step", 1) != 1):
        return None
    heads = config["num_attention_heads"]
    return Architecture(
        vocab_size=config["vocab_size"],
        width=config["hidden_size"],
        num_layers=config["num_hidden_layers"],
        num_heads=heads,
        num_kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        mlp_width=config["moe_intermediate_size" if has_experts else "intermediate_size"],
        num_experts=_num_experts(config) if has_experts else 0,
        num_active_experts=config["num_experts_per_tok"] if has_experts else 0,
        is_tied=bool(config.get("tie_word_embeddings", False)),
        has_head_norms=config["model_type"].startswith("qwen3"),
    )


def _num_experts(config: Mapping[str, Any]) -> int:
    # The first key is that of released models, the second that of transformers 5.
    num_experts: int | None = config.get("num_experts", config.get("num_local_experts"))
    if num_experts is None:
        raise KeyError("num_experts")
    return num_experts


def architecture_of(path: str, hub_config: Mapping[str, Any] | None = None) -> Architecture | MeasuredModel | None:
    """Returns the architecture of a folder, GGUF file, or model on the hub whose sizes are known; None for any other.

    The sizes of Llama and Qwen3 are computed. A model of another family is built without memory for its weights, which
    imports torch.

    Args:
        path: A folder, a GGUF file, or a name on the hub.
        hub_config: The configuration's `model.hub_config`; None for that of the preset with this name.

    Raises:
        InputError: When the folder's `config.json` or `hub_config` lacks a size.
    """
    file = Path(path) / "config.json"
    if file.is_file():
        return _architecture(_read_config(file), str(file))
    if is_gguf(path):
        fields = gguf_config(Path(path))
        return None if fields is None else _architecture(fields, path)
    sizes = hub_config or _hub_configs().get(path)
    return None if sizes is None else _architecture(sizes, "model.hub_config")


def _read_config(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError.at(file, f"is no valid JSON ({error}).") from error
    if not isinstance(config, dict):
        raise InputError.at(file, "holds no JSON object; copy the model again.")
    return config


def _architecture(config: Mapping[str, Any], where: str) -> Architecture | MeasuredModel | None:
    if not isinstance(config.get("model_type"), str):
        raise InputError(f"{where}: has no model_type; give the sizes that the model's config.json has.")
    advice = "give the fields of the model's config.json"
    try:
        architecture = from_config(config)
    except KeyError as error:
        problem = f"lacks {error.args[0]}, which the size of a {config['model_type']} model depends on"
        raise InputError(f"{where}: {problem}; {advice}.") from error
    except (TypeError, ZeroDivisionError) as error:
        raise InputError(f"{where}: a size is no whole number above 0; {advice}.") from error
    if architecture is not None:
        wrong = [name for name, size in asdict(architecture).items() if not isinstance(size, int) or size < 0]
        if wrong:
            raise InputError(f"{where}: {wrong[0]} is no whole number; {advice}.")
        return architecture
    from medssr.models.meta_model import measured

    return measured(config)


@cache
def _hub_configs() -> dict[str, dict[str, Any]]:
    """Returns what `conf/model/` says of the size of models: fields of their config.json, by their name on the hub."""
    import yaml

    presets = [
        yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
        for file in sorted((CONF_DIR / "model").glob("*.yaml"))
    ]
    return {preset["path"]: preset["hub_config"] for preset in presets if preset.get("hub_config")}


def num_stored_parameters(folder: Path) -> int | None:
    """Returns the number of weights in a folder's safetensors files, read from their headers; None without files.

    A file begins with eight bytes with the length of a JSON object, which has the shape of each tensor.
    """
    files = sorted(folder.glob("*.safetensors"))
    return sum(map(_num_parameters_of_file, files)) if files else None


def _num_parameters_of_file(file: Path) -> int:
    num_bytes = file.stat().st_size
    try:
        with file.open("rb") as stream:
            header_bytes = int.from_bytes(stream.read(_HEADER_LENGTH_BYTES), "little")
            header = json.loads(stream.read(min(header_bytes, num_bytes)))
        return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError.at(file, f"is cut or no safetensors file ({error}); copy the model again.") from error
