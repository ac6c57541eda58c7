"""Measures a language model of any family that transformers knows, by building it without memory for its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Fields of a config.json that say where a model comes from, not what it is.
_ORIGIN = ("architectures", "auto_map", "transformers_version", "torch_dtype", "dtype", "model_type")


@dataclass(frozen=True, slots=True)
class MeasuredModel:
    """The size of a decoder; the same quantities as `Architecture` computes.

    Attributes:
        vocab_size: Number of rows of the embedding.
        width: Size of a hidden state.
        num_layers: Number of decoder layers.
        layer_parameters: Number of weights of the largest decoder layer.
        num_parameters: Number of weights; those that are shared count once.
        is_tied: Whether the head shares the embedding's weights.
        linear_layers: The (input, output) sizes of all linear maps by full name, without the head.
    """

    vocab_size: int
    width: int
    num_layers: int
    layer_parameters: int
    num_parameters: int
    is_tied: bool
    linear_layers: dict[str, tuple[int, int]]

    @property
    def num_layer_outputs(self) -> int:
        """The number of outputs of a layer's linear maps for one token, on average; without experts."""
        return sum(outputs for _, outputs in self.linear_layers.values()) // max(1, self.num_layers)

    def num_adapter_parameters(self, rank: int, target_modules: list[str] | None) -> int:
        """Returns the number of weights of low-rank adapters: rank x (inputs + outputs) for each adapted layer.

        Args:
            rank: The rank of the adapters.
            target_modules: Names of the adapted linear maps; None for all.
        """
        adapted = [
            size
            for name, size in self.linear_layers.items()
            if target_modules is None or name.rpartition(".")[2] in target_modules
        ]
        return rank * sum(inputs + outputs for inputs, outputs in adapted)


def measured(config: Mapping[str, Any]) -> MeasuredModel | None:
    """Returns the size of the model that a `config.json` describes.

    Returns:
        None where transformers has no such decoder, or cannot build one from these fields.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    fields = {name: value for name, value in config.items() if name not in _ORIGIN}
    try:
        hub_config = AutoConfig.for_model(str(config.get("model_type")), **fields)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(hub_config)
    except Exception:  # of any kind: the fields come from a file that anybody may have written
        return None
    text = hub_config.get_text_config()
    layers = max(
        (child for child in model.modules() if isinstance(child, torch.nn.ModuleList)),
        key=_num_parameters,
        default=torch.nn.ModuleList(),
    )
    return MeasuredModel(
        vocab_size=text.vocab_size,
        width=text.hidden_size,
        num_layers=len(layers),
        layer_parameters=max(map(_num_parameters, layers), default=0),
        num_parameters=_num_parameters(model),
        is_tied=bool(text.tie_word_embeddings),
        linear_layers=_linear_layers(model),
    )


def _num_parameters(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _linear_layers(model: Any) -> dict[str, tuple[int, int]]:
    import torch
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    sizes: dict[str, tuple[int, int]] = {}
    for name, module in model.named_modules():
        if module is head:
            continue
        if isinstance(module, torch.nn.Linear):
            sizes[name] = (module.in_features, module.out_features)
        elif isinstance(module, Conv1D):  # of GPT-2
            sizes[name] = (module.nx, module.nf)
    return sizes
