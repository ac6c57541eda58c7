"""Computes the memory of training on one device from the sizes of the model; imports no torch.

experiments/memory holds the sum against torch's tracker. The parts are explained in docs/scaling.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from medssr.models.architecture import Architecture
from medssr.models.meta_model import MeasuredModel

_FLOAT32_BYTES = 4
# A trained weight, its gradient and AdamW's two averages, in float32; between updates there is no gradient.
BYTES_PER_TRAINED_WEIGHT = 4 * _FLOAT32_BYTES
_BYTES_PER_RESTING_WEIGHT = 3 * _FLOAT32_BYTES
# Numbers that a layer's backward pass holds at its peak, for each output of a linear map in it: the recomputed
# activations, their gradients, and copies in other number formats.
_NUMBERS_PER_OUTPUT = 4

Parts = dict[str, int]


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
        is_replicated: Whether several devices train the whole model, each on a share of the questions.
        micro_batch_tokens: Tokens of one forward and backward pass.
        head_chunk_tokens: Number of tokens whose logits exist at the same time.
        recompute_every: Of that many layers, one keeps only its input, and recomputes its activations; None if all keep
            all activations.
        has_average: Whether a moving average of the trained weights is kept, in float32.
        teacher_bytes: The bytes of the weights of a teacher that is a model of its own, whole on each device.
    """

    architecture: Architecture | MeasuredModel
    weight_bytes: int
    compute_bytes: int
    num_adapter_parameters: int | None
    has_reference: bool
    num_parts: int
    is_replicated: bool
    micro_batch_tokens: int
    head_chunk_tokens: int
    recompute_every: int | None
    has_average: bool = False
    teacher_bytes: int = 0

    @property
    def trains_all(self) -> bool:
        """Whether all weights are trained."""
        return self.num_adapter_parameters is None

    @property
    def is_sharded(self) -> bool:
        """Whether each device holds a part of every weight."""
        return self.num_parts > 1

    @property
    def num_trained(self) -> int:
        """The number of trained weights on this device."""
        number = self.num_adapter_parameters
        return self.architecture.num_parameters // self.num_parts if number is None else number

    @property
    def frozen_bytes(self) -> Parts:
        """The bytes of weights that are not trained."""
        size = self.weight_bytes * self.architecture.num_parameters // self.num_parts
        parts = {"moving average": _FLOAT32_BYTES * self.num_trained} if self.has_average else {}
        parts |= {"teacher": self.teacher_bytes} if self.teacher_bytes else {}
        if not self.trains_all:
            return {"frozen weights": size} | parts
        return ({"reference policy": size} if self.has_reference else {}) | parts

    @property
    def head_weights(self) -> int:
        """The number of weights of the head, which has as many as the embedding."""
        return self.architecture.vocab_size * self.architecture.width

    @property
    def layer_bytes(self) -> int:
        """The bytes of one layer's activations and their gradients in its backward pass."""
        numbers = self.micro_batch_tokens * self.architecture.num_layer_outputs
        return _NUMBERS_PER_OUTPUT * self.compute_bytes * numbers

    @property
    def kept_bytes(self) -> Parts:
        """The bytes of activations that are kept from the forward to the backward pass."""
        if self.recompute_every is None:
            return {"activations of all layers": self.architecture.num_layers * self.layer_bytes}
        num_recomputed = math.ceil(self.architecture.num_layers / self.recompute_every)
        num_stored = self.architecture.num_layers - num_recomputed
        # Between layers, numbers have the format of the embedding, which autocast leaves in float32.
        is_float32 = self.trains_all and not self.is_sharded
        numbers = num_recomputed * self.micro_batch_tokens * self.architecture.width
        size = _FLOAT32_BYTES if is_float32 else self.compute_bytes
        kept = {"activations at the border of layers": size * numbers}
        return kept | ({"activations of the other layers": num_stored * self.layer_bytes} if num_stored else {})


def memory_parts(load: Load) -> Parts:
    """Returns the bytes on one device by content, at the moment of an update that needs most.

    Example:
        >>> from medssr.models.architecture import architecture_of
        >>> qwen3_8b = architecture_of("Qwen/Qwen3-8B-Base")
        >>> parts = memory_parts(Load(qwen3_8b, 2, 2, None, True, 8, False, 16384, 1024, 1))
        >>> {name: round(size / 1e9, 1) for name, size in parts.items()}  # doctest: +NORMALIZE_WHITESPACE
        {'weights, gradients, optimiser': 16.4, 'reference policy': 2.0, 'activations at the border of layers': 4.8,
         'one layer, recomputed, and its gradients': 5.1, 'weights and gradients of two layers, gathered': 1.9,
         'head and its gradient, gathered': 2.5}
    """
    name = "weights, gradients, optimiser" if load.trains_all else "adapters, gradients, optimiser"
    trained = {name: BYTES_PER_TRAINED_WEIGHT * load.num_trained}
    parts = trained | load.frozen_bytes if load.trains_all else load.frozen_bytes | trained
    if load.is_replicated:
        parts["gradients that processes exchange"] = _FLOAT32_BYTES * load.num_trained
    moments = [load.kept_bytes | _layer_moment(load), load.kept_bytes | _head_moment(load), _optimizer_moment(load)]
    return parts | max(moments, key=lambda moment: sum(moment.values()))


def resting_bytes(load: Load) -> int:
    """Returns the bytes that training keeps on one device between updates, while an engine samples."""
    return _BYTES_PER_RESTING_WEIGHT * load.num_trained + sum(load.frozen_bytes.values())


def _layer_moment(load: Load) -> Parts:
    """Returns what the backward pass of the last layer adds."""
    layer = load.architecture.layer_parameters
    moment = {"one layer, recomputed, and its gradients": load.layer_bytes}
    if load.is_sharded:
        # The layer, the next one and the layer's gradient as computed, and the gradient in float32 to be summed.
        gathered = (3 * load.compute_bytes + _FLOAT32_BYTES) * layer
        moment["weights and gradients of two layers, gathered"] = gathered
        moment["head and its gradient, gathered"] = 2 * load.compute_bytes * load.head_weights
    elif load.trains_all and load.architecture.is_tied:
        # The gradient of the head waits for that of the embedding, which is the same weight.
        moment["gradient of the head"] = _FLOAT32_BYTES * load.head_weights
    return moment


def _head_moment(load: Load) -> Parts:
    """Returns what the head adds: three copies of a chunk's logits, and its gradient if it is trained."""
    logits = load.head_chunk_tokens * load.architecture.vocab_size
    moment = {"logits": (2 * _FLOAT32_BYTES + load.compute_bytes) * logits}
    if load.trains_all:
        # The weight and the gradient of a chunk, as computed; and the sum of gradients in float32.
        moment["head and its gradient"] = (2 * load.compute_bytes + _FLOAT32_BYTES) * load.head_weights
    return moment


def _optimizer_moment(load: Load) -> Parts:
    """Returns what AdamW's step adds: a number for each weight, unless weights are sharded and updated one by one."""
    return {"optimiser step": 0 if load.is_sharded else _FLOAT32_BYTES * load.num_trained}


# Completion tokens whose logits exist at the same time, where the number is not given: at least, and at most.
LEAST_HEAD_TOKENS, MOST_HEAD_TOKENS = 512, 8192
# The share of the free memory that their logits may take: activations and gradients come later.
_HEAD_SHARE = 1 / 16
# Products of matrices are fastest for multiples of this many rows.
_HEAD_STEP = 128


def head_tokens(free_bytes: int, vocab_size: int, compute_bytes: int) -> int:
    """Returns the number of tokens whose logits may exist at the same time, by the free memory of a GPU.

    Args:
        free_bytes: Free memory.
        vocab_size: Number of logits of a token.
        compute_bytes: Bytes of a number in matrix products; of each logit there are three copies, two in float32.

    Example:
        >>> head_tokens(64 * 10**9, vocab_size=151_936, compute_bytes=2)  # 4 GB / (10 bytes x 151,936) = 2,632 tokens
        2560
        >>> head_tokens(10**9, vocab_size=151_936, compute_bytes=2)
        512
    """
    fitting = int(_HEAD_SHARE * free_bytes / ((2 * _FLOAT32_BYTES + compute_bytes) * vocab_size))
    return min(max(fitting // _HEAD_STEP * _HEAD_STEP, LEAST_HEAD_TOKENS), MOST_HEAD_TOKENS)
