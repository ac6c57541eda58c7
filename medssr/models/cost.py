"""Computes the seconds of a step of GRPO from model, work and hardware; imports no torch.

A part of a step takes the time of its matrix products at the speed of a large one, plus the time of its memory accesses
at the speed of a large copy, plus, in decoding, a fixed time for each token step: nothing overlaps. docs/cost.md has
the formulas, where the constants come from, and predictions beside measurements.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from medssr.models.architecture import Architecture
from medssr.models.hardware import Hardware

# Memory accesses of a forward pass for each output of a linear map: norms, rotations, activations, residuals, masks.
_ACCESSES_PER_OUTPUT = 20
# Memory accesses for each logit of a forward pass, and as many of a backward pass (float32).
_ACCESSES_PER_LOGIT = 10
_LOGIT_BYTES = 4
# Memory accesses for each trained weight of AdamW's step and the clipping of its gradient (float32).
_ACCESSES_PER_TRAINED_WEIGHT = 20
_TRAINED_BYTES = 4
# A CPU's product of few rows copies the weights to another layout first.
_WEIGHT_READS_OF_CPU = 2
# vLLM's scheduling, launch and sampling for one token of all running completions.
_VLLM_STEP_S = 2.5e-3
# transformers launches each operation from Python; a layer has about 20, and 6 more for each adapted linear map.
_EAGER_OPERATION_S = 30e-6
_OPERATIONS_PER_LAYER = 20
_OPERATIONS_PER_ADAPTER = 6
_ADAPTERS_PER_LAYER = 7
# Weights pass to an engine at this rate; before and after, the engine stops, wakes up and answers a check.
_HANDED_BYTES_PER_S = 10e9
_HAND_OVER_S = 1.0
# Variance of the length of completions relative to the square of their mean.
_LENGTH_VARIANCE = 0.25
# The slowest of several processes relative to their mean.
_IMBALANCE = 1.05


@dataclass(frozen=True, slots=True)
class Work:
    """The work of one step, over all processes.

    Attributes:
        num_prompts: Number of prompts, without those that dynamic sampling adds.
        num_generations: Number of completions of each prompt.
        prompt_tokens: Mean length of the prompts.
        completion_tokens: Mean length of the completions.
        longest: Length of the longest completion, which the rollout waits for.
        signal_share: Fraction of prompts whose completions are trained on; the others have no gradient.
        reward_seconds: Seconds of one completion's rewards; None if they are not known.
        num_trained: Number of completions of a prompt that are trained on, while the others only vote; None for all.
        num_rounds: Rounds of dynamic sampling, each of which replaces the prompts without signal.
    """

    num_prompts: int
    num_generations: int
    prompt_tokens: float
    completion_tokens: float
    longest: int
    signal_share: float
    reward_seconds: float | None
    num_trained: int | None = None
    num_rounds: int = 0

    @property
    def sampled_prompts(self) -> list[float]:
        """The expected number of prompts that are sampled at first, and in each round of dynamic sampling.

        Example:
            >>> Work(128, 8, 300, 1000, 2048, 0.75, None, num_rounds=2).sampled_prompts
            [128.0, 32.0, 8.0]
        """
        return [self.num_prompts * (1 - self.signal_share) ** number for number in range(self.num_rounds + 1)]

    @property
    def num_completions(self) -> float:
        """The expected number of sampled completions."""
        return sum(self.sampled_prompts) * self.num_generations

    @property
    def num_trained_prompts(self) -> float:
        """The expected number of prompts whose completions are trained on."""
        return self.num_prompts * (1 - (1 - self.signal_share) ** (self.num_rounds + 1))

    @property
    def num_trained_completions(self) -> int:
        """The number of completions of a prompt that are trained on."""
        return self.num_generations if self.num_trained is None else self.num_trained

    @property
    def num_attended(self) -> float:
        """The expected number of tokens that the tokens of one completion attend to, added up."""
        mean, prompt = self.completion_tokens, self.prompt_tokens
        variance = min(_LENGTH_VARIANCE * mean**2, mean * (self.longest - mean))  # the largest between 0 and `longest`
        return mean * prompt + (mean**2 + variance) / 2


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What computes a step, and how.

    Attributes:
        num_trainers: Number of training processes, one for each device.
        num_engines: Number of engines; each has the whole model, and a share of the prompts.
        engine_devices: Number of devices of each engine, over which its weights are spread.
        is_vllm: Whether vLLM samples; else transformers, with the trained model itself.
        num_slots: Number of completions that an engine decodes at the same time.
        engine_bytes: Bytes per weight and per number of the cache in the engine.
        compute_bytes: Bytes per number in forward and backward passes.
        num_adapter_parameters: Number of adapter weights; None if all weights are trained.
        is_sharded: Whether each trainer holds and updates a part of every weight.
        num_trained_passes: Forward passes over what is trained on before the first update: by the reference policy, and
            by the policy itself.
        num_sampled_passes: Such passes over all sampled completions, before their rewards are known.
        num_iterations: Passes over the completions.
        num_optimizer_steps: Optimiser steps of the step.
        recomputed_share: Fraction of the layers whose activations the backward pass computes again.
        is_ahead: Whether the engines sample the next step's completions while this one trains.
    """

    num_trainers: int
    num_engines: int
    engine_devices: int
    is_vllm: bool
    num_slots: int
    engine_bytes: int
    compute_bytes: int
    num_adapter_parameters: int | None
    is_sharded: bool
    num_trained_passes: int
    num_sampled_passes: int
    num_iterations: int
    num_optimizer_steps: int
    recomputed_share: float
    is_ahead: bool = False


@dataclass(frozen=True, slots=True)
class StepSeconds:
    """The seconds of each part of a step.

    Attributes:
        rollout: Prefill and decoding.
        reward: Rewards; None if they are not known.
        reference: Log-probs of the reference policy, and of the policy before the first update, and its statistics.
        update: Forward and backward passes.
        optimiser: Optimiser steps.
        sync: Hand-over of the new weights to the engine.
        beside: Those of the rollout that pass beside the training on the completions before.
    """

    rollout: float
    reward: float | None
    reference: float
    update: float
    optimiser: float
    sync: float
    beside: float = 0.0

    @property
    def total(self) -> float:
        """The seconds of the step, without rewards that are not known."""
        training = max(self.beside, self.reference + self.update + self.optimiser)
        return (self.reward or 0.0) + self.rollout - self.beside + training + self.sync


@dataclass(frozen=True, slots=True)
class _Pass:
    """The seconds of a forward pass: matrix products, and memory accesses of everything else."""

    products: float
    accesses: float

    def times(self, products: float, accesses: float) -> float:
        return products * self.products + accesses * self.accesses


def step_seconds(model: Architecture, work: Work, arrangement: Arrangement, hardware: Hardware) -> StepSeconds:
    """Returns the seconds of each part of a step.

    Example:
        >>> from medssr.models.architecture import architecture_of
        >>> from medssr.models.hardware import GPU, published
        >>> work = Work(128, 8, 300, 1000, 2048, 0.6, None)
        >>> arrangement = Arrangement(8, 8, 1, True, 256, 2, 2, None, True, 1, 0, 1, 1, 1.0)
        >>> seconds = step_seconds(architecture_of("Qwen/Qwen3-8B-Base"), work, arrangement, published(GPU.H200))
        >>> round(seconds.rollout), round(seconds.update + seconds.reference), round(seconds.sync, 1)
        (20, 16, 2.6)
    """
    trained = _passes(model, work, arrangement, hardware, work.num_trained_prompts, work.num_trained_completions)
    sampled = _passes(model, work, arrangement, hardware, sum(work.sampled_prompts), work.num_generations)
    layers, head = trained
    slowest = _IMBALANCE if arrangement.num_trainers > 1 else 1.0
    # Of each product in a forward pass, the backward pass has two: for the input and, where it is trained, the weight.
    backward = 2 if arrangement.num_adapter_parameters is None else 1
    update = layers.times(1 + arrangement.recomputed_share + backward, 3 + arrangement.recomputed_share)
    update += head.times(2 + backward, 2)  # the chunks of the head are computed again
    reference = arrangement.num_trained_passes * sum(one.times(1, 1) for one in trained)
    reference += arrangement.num_sampled_passes * sum(one.times(1, 1) for one in sampled)
    reward = work.reward_seconds
    rounds = [rollout_seconds(model, work, prompts, arrangement, hardware) for prompts in work.sampled_prompts]
    return StepSeconds(
        rollout=sum(rounds),
        reward=None if reward is None else reward * work.num_completions / arrangement.num_trainers,
        reference=slowest * reference,
        update=slowest * arrangement.num_iterations * update,
        optimiser=_optimizer_seconds(model, arrangement, hardware),
        sync=_sync_seconds(model, arrangement),
        beside=rounds[0] if arrangement.is_ahead else 0.0,
    )


def rollout_seconds(
    model: Architecture, work: Work, num_prompts: float, arrangement: Arrangement, hardware: Hardware
) -> float:
    """Returns the seconds of prefill and decoding of one engine, which has an equal share of the prompts.

    An expected number of prompts below 1 is the chance that there is one.
    """
    if num_prompts < 1:
        return num_prompts * rollout_seconds(model, work, 1, arrangement, hardware)
    rows = num_prompts * work.num_generations / arrangement.num_engines
    num_steps = _num_token_steps(rows, work, arrangement)
    num_tokens = rows * work.completion_tokens
    head = model.vocab_size * model.width
    devices = arrangement.engine_devices

    read = head + model.num_layers * _touched_layer_weights(model, num_tokens / num_steps)
    read *= arrangement.engine_bytes * (1 if hardware.is_gpu else _WEIGHT_READS_OF_CPU)
    cached = 2 * model.num_layers * model.num_kv_heads * model.head_dim * arrangement.engine_bytes
    logits = _ACCESSES_PER_LOGIT * _LOGIT_BYTES * model.vocab_size
    num_bytes = num_steps * read + rows * work.num_attended * cached + num_tokens * logits

    weights = model.num_layers * model.num_active_layer_weights
    flops = 2 * num_tokens * (weights + head) + rows * work.num_attended * attention_flops(model)
    prompts = rows / work.num_generations * work.prompt_tokens
    flops += prompts * (2 * weights + work.prompt_tokens / 2 * attention_flops(model))
    if not arrangement.is_vllm:  # whose kernels do the rest of a layer beside its products
        num_bytes += (num_tokens + prompts) * _layer_bytes(model, arrangement.engine_bytes)
    seconds = num_bytes / hardware.bytes_per_second + flops / hardware.product_flops(arrangement.engine_bytes)
    return seconds / devices + num_steps * _overhead(model, arrangement)


def _num_token_steps(rows: float, work: Work, arrangement: Arrangement) -> float:
    """Returns how often an engine reads its weights to decode its completions."""
    slots = arrangement.num_slots
    if not arrangement.is_vllm:  # one batch after the other, each as long as its longest completion
        return math.ceil(rows / slots) * work.longest
    return work.longest + max(0.0, rows - slots) * work.completion_tokens / slots


def _overhead(model: Architecture, arrangement: Arrangement) -> float:
    """Returns the seconds of a token step that depend on no number of rows."""
    if arrangement.is_vllm:
        return _VLLM_STEP_S
    has_adapters = arrangement.num_adapter_parameters is not None
    operations = _OPERATIONS_PER_LAYER + has_adapters * _ADAPTERS_PER_LAYER * _OPERATIONS_PER_ADAPTER
    return model.num_layers * operations * _EAGER_OPERATION_S


def _touched_layer_weights(model: Architecture, rows: float) -> float:
    """Returns the number of weights of a layer that one token of each row reads, if experts are chosen evenly."""
    if not model.num_experts:
        return model.num_active_layer_weights
    chosen = 1 - math.pow(1 - model.num_active_experts / model.num_experts, rows)
    expert = 3 * model.width * model.mlp_width
    shared = model.num_active_layer_weights - model.num_active_experts * expert
    return shared + chosen * model.num_experts * expert


def attention_flops(model: Architecture) -> int:
    """Returns the FLOPs of a token's attention to one other token, in all layers: two products of each head."""
    return 4 * model.num_layers * model.num_heads * model.head_dim


def _passes(
    model: Architecture,
    work: Work,
    arrangement: Arrangement,
    hardware: Hardware,
    num_prompts: float,
    num_completions: int,
) -> tuple[_Pass, _Pass]:
    """Returns the forward passes of one trainer's share through the layers and through the head.

    A group's prompt is computed once, and the head computes completions alone.

    Args:
        model: The model.
        work: Lengths of prompts and completions.
        arrangement: What computes the passes.
        hardware: Its speed.
        num_prompts: Number of prompts, over all trainers.
        num_completions: Number of completions of each of them.
    """
    prompts = num_prompts / arrangement.num_trainers
    completion_tokens = prompts * num_completions * work.completion_tokens
    tokens = prompts * work.prompt_tokens + completion_tokens
    attended = prompts * (work.prompt_tokens**2 / 2 + num_completions * work.num_attended)
    weights = model.num_layers * model.num_active_layer_weights + (arrangement.num_adapter_parameters or 0)
    flops = 2 * weights * tokens + attended * attention_flops(model)
    logits = completion_tokens * model.vocab_size
    return (
        _pass(flops, tokens * _layer_bytes(model, arrangement.compute_bytes), arrangement, hardware),
        _pass(2 * model.width * logits, _ACCESSES_PER_LOGIT * _LOGIT_BYTES * logits, arrangement, hardware),
    )


def _layer_bytes(model: Architecture, num_bytes: int) -> int:
    """Returns the bytes that the layers read and write for a token beside their products, in numbers of that size."""
    return _ACCESSES_PER_OUTPUT * num_bytes * model.num_layers * model.num_layer_outputs


def _pass(flops: float, num_bytes: float, arrangement: Arrangement, hardware: Hardware) -> _Pass:
    return _Pass(flops / hardware.product_flops(arrangement.compute_bytes), num_bytes / hardware.bytes_per_second)


def _optimizer_seconds(model: Architecture, arrangement: Arrangement, hardware: Hardware) -> float:
    adapters = arrangement.num_adapter_parameters
    trained = model.num_parameters if adapters is None else adapters
    parts = arrangement.num_trainers if arrangement.is_sharded else 1
    num_bytes = _ACCESSES_PER_TRAINED_WEIGHT * _TRAINED_BYTES * trained / parts
    return arrangement.num_optimizer_steps * num_bytes / hardware.bytes_per_second


def _sync_seconds(model: Architecture, arrangement: Arrangement) -> float:
    if not arrangement.is_vllm:
        return 0.0
    adapters = arrangement.num_adapter_parameters
    num_bytes = arrangement.engine_bytes * model.num_parameters if adapters is None else _TRAINED_BYTES * adapters
    return _HAND_OVER_S + num_bytes / _HANDED_BYTES_PER_S
