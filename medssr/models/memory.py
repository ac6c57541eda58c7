"""Estimates the memory of training on one device with the formulas of docs/scaling.md; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from medssr.models.architecture import Architecture
from medssr.models.meta_model import MeasuredModel

# A trained weight and its gradient in float32, and AdamW's two averages.
BYTES_PER_TRAINED_WEIGHT = 16
_FLOAT32_BYTES = 4
# The logits, their log-softmax and its gradient.
_COPIES_OF_LOGITS = 3


@dataclass(frozen=True, slots=True)
class Load:
    """The quantities that determine the memory of training on one device.

    Attributes:
        architecture: The architecture of the model.
        weight_bytes: Bytes per weight of the loaded model and of the reference policy.
        compute_bytes: Bytes per number in forward and backward passes: 2 with bf16-mixed, 4 with 32-true.
        num_adapter_parameters: Number of adapter weights; None if all weights of the model are trained.
        has_reference: Whether there is a frozen copy of the policy.
        num_parts: Number of devices that weights, gradients and optimiser are sharded over; 1 without sharding.
        micro_batch_tokens: Tokens of one forward and backward pass.
        head_chunk_tokens: Number of tokens whose logits exist at the same time.
        recomputes: Whether only the activations between layers are kept, and others recomputed.
    """

    architecture: Architecture | MeasuredModel
    weight_bytes: int
    compute_bytes: int
    num_adapter_parameters: int | None
    has_reference: bool
    num_parts: int
    micro_batch_tokens: int
    head_chunk_tokens: int
    recomputes: bool


def memory_parts(load: Load) -> dict[str, int]:
    """Returns the bytes on one device by content, without the activations inside a layer.

    Example:
        >>> from medssr.models.architecture import architecture_of
        >>> qwen3_8b = architecture_of("Qwen/Qwen3-8B-Base")
        >>> parts = memory_parts(Load(qwen3_8b, 2, 2, None, True, 8, 16384, 1024, True))
        >>> {name: round(size / 1e9, 1) for name, size in parts.items()}  # doctest: +NORMALIZE_WHITESPACE
        {'weights, gradients, optimiser': 16.4, 'reference policy': 2.0,
         'embedding, head and two layers, gathered': 3.3, 'activations at the border of layers': 4.8, 'logits': 1.9}
    """
    model = load.architecture
    parts: dict[str, int] = {}
    if load.num_adapter_parameters is None:
        parts["weights, gradients, optimiser"] = BYTES_PER_TRAINED_WEIGHT * model.num_parameters // load.num_parts
        if load.has_reference:
            parts["reference policy"] = load.weight_bytes * model.num_parameters // load.num_parts
    else:
        parts["frozen weights"] = load.weight_bytes * model.num_parameters
        parts["adapters, gradients, optimiser"] = BYTES_PER_TRAINED_WEIGHT * load.num_adapter_parameters
    if load.num_parts > 1:
        embeddings = 2 * model.vocab_size * model.width
        parts["embedding, head and two layers, gathered"] = load.compute_bytes * (
            embeddings + 2 * model.layer_parameters
        )
    if load.recomputes:
        kept = model.num_layers * load.micro_batch_tokens * model.width
        parts["activations at the border of layers"] = load.compute_bytes * kept
    parts["logits"] = _COPIES_OF_LOGITS * _FLOAT32_BYTES * load.head_chunk_tokens * model.vocab_size
    return parts
