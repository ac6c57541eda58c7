"""The memory that a training takes on one device, by the sums of docs/scaling.md; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from medssr.models.architecture import Architecture

# A trained weight and its gradient in float32, and AdamW's two averages.
BYTES_PER_TRAINED_WEIGHT = 16
_FLOAT32_BYTES = 4
# Of the logits that exist at once: themselves, their log-softmax and its gradient.
_COPIES_OF_LOGITS = 3


@dataclass(frozen=True, slots=True)
class Load:
    """What is trained, and what of it one device holds.

    Attributes:
        architecture: Of the model.
        weight_bytes: Of a weight as the model is loaded, and of the reference policy's.
        compute_bytes: Of a number in the passes: 2 with bf16-mixed, 4 with 32-true.
        num_adapter_parameters: Trained in place of the model's own weights; None where these are trained.
        has_reference: Whether a frozen copy of the policy is kept.
        num_parts: Devices that weights, gradients and optimiser are spread over; 1: each has all.
        micro_batch_tokens: Tokens of one pass.
        head_chunk_tokens: Tokens whose logits exist at once.
        recomputes: Whether activations are kept at the border of layers alone.
    """

    architecture: Architecture
    weight_bytes: int
    compute_bytes: int
    num_adapter_parameters: int | None
    has_reference: bool
    num_parts: int
    micro_batch_tokens: int
    head_chunk_tokens: int
    recomputes: bool


def memory_parts(load: Load) -> dict[str, int]:
    """Returns the bytes on one device by what they hold; the activations inside one layer are not among them.

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
