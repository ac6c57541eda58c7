"""The training objective: computes the loss of micro-batches, and reference and old log-probs."""

from __future__ import annotations

import logging
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from medssr.config import GRPOConfig, KLPlacement
from medssr.grpo.kl import kl_estimate, truncated_importance_weights
from medssr.grpo.losses import LossInputs, PolicyLoss, masked_sum, summed_loss
from medssr.grpo.minibatches import Minibatch
from medssr.grpo.rollouts import Sample, require_logps
from medssr.grpo.teachers import Distillation, MovingAverage
from medssr.models.attention import adopt_attention, takes_blocks
from medssr.models.averaged_weights import AveragedWeights
from medssr.models.batching import RolloutBatch, pad_rollouts, split_by_tokens
from medssr.models.device import free_gpu_bytes
from medssr.models.divergence import check_head, scores_and_divergences, teacher_states
from medssr.models.logprobs import (
    changes_logits,
    completion_logps,
    completion_logps_and_entropies,
    completion_statistics,
    packed_logps,
    packed_statistics,
)
from medssr.models.lora import initial_adapters
from medssr.models.memory import LEAST_HEAD_TOKENS, head_tokens
from medssr.models.packing import PackedRollouts, pack_rollouts, split_by_packed_tokens
from medssr.models.sharding import call_as_forward, is_sharded
from medssr.rewards.groups import TokenStatistics
from medssr.utils.instantiate import instantiate
from medssr.utils.processes import pad_to_longest

log = logging.getLogger(__name__)

_DUMMY = Sample("", [0], [0], torch.zeros(1), torch.zeros(1), torch.zeros(1), is_dummy=True)


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """The samples of one forward and backward pass.

    Attributes:
        samples: B samples.
        advantages: `[B]`.
        normalizer: The divisor of the sum of the step's losses.
        is_last: Whether it is the last of its optimiser step, after which processes average their gradients.
        num_distilled_tokens: The divisor of the sum of its divergences from a teacher; 0 if there is none.
    """

    samples: list[Sample]
    advantages: Tensor
    normalizer: float
    is_last: bool
    num_distilled_tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class LossStatistics:
    """The loss and other statistics of a micro-batch, without gradient.

    Attributes:
        samples: The samples of the micro-batch.
        metrics: Token sums divided by the step's normaliser, by name; they add up over the micro-batches of a step.
        sampling_logps: `[T_i]` for each sample, on the CPU: the trainer's log-probs with the weights that sampled.
    """

    samples: list[Sample]
    metrics: dict[str, float]
    sampling_logps: list[Tensor]

    @property
    def is_finite(self) -> bool:
        """Whether the loss is finite."""
        return math.isfinite(self.metrics["loss"])


class Objective:
    """The loss of completions under a policy, with KL regularisation to a frozen reference policy.

    Args:
        model: The policy's model.
        reference: The reference model of the KL; None if beta is 0, or if the KL is to the teacher. If it is the
            policy's model itself, which then has adapters, the reference is that model with the adapters that training
            started from.
        policy_loss: Computes the loss of each token.
        pad_token_id: The padding token.
        config: The algorithm's settings.
        teacher_model: The model of a teacher that is one of its own; None if there is none.

    Attributes:
        is_packed: Whether a prompt is computed once for all completions of a micro-batch.
        teacher: The settings of the teacher; None if there is none.
        average: The weights of a teacher that is the moving average of the policy.
        distillation: How the policy is drawn to the teacher; None if it is not.
    """

    def __init__(
        self,
        model: Any,
        reference: Any | None,
        policy_loss: PolicyLoss,
        pad_token_id: int,
        config: GRPOConfig,
        teacher_model: Any | None = None,
    ) -> None:
        self.model = model
        self.reference = reference
        self.policy_loss = policy_loss
        self._pad_token_id = pad_token_id
        self._config = config
        self.teacher: MovingAverage | None = None
        self.average: AveragedWeights | None = None
        if config.teacher is not None and config.has_average:
            self.teacher, self.average = instantiate(config.teacher, "grpo.teacher"), AveragedWeights(model)
        self.teacher_model = teacher_model
        self.distillation: Distillation | None = None
        if config.distillation is not None:
            self.distillation = instantiate(config.distillation, "grpo.distillation")
            assert self.average is not None or teacher_model is not None
            for other in (model, teacher_model):
                if other is not None:
                    check_head(other)
        # The reference has the same architecture and settings, so it takes packed batches if the policy does.
        others = [other for other in (reference, teacher_model) if other is not None]
        self.is_packed = adopt_attention(model) and all(map(adopt_attention, others))

    def micro_batches(self, minibatch: Minibatch) -> Iterator[MicroBatch]:
        """Yields micro-batches of at most `micro_batch_tokens`.

        All processes yield the same number, those with fewer samples dummies at the end, because all processes take
        part in averaging gradients. If no process has a sample, nothing is yielded.
        """
        advantages = torch.tensor(minibatch.advantages, device=self.model.device)
        parts = pad_to_longest(self._split(minibatch.samples), filler=[])
        for number, indices in enumerate(parts, start=1):
            samples = [minibatch.samples[index] for index in indices] or [_DUMMY]
            selected = advantages[indices] if indices else advantages.new_zeros(1)
            yield MicroBatch(
                samples, selected, minibatch.normalizer, number == len(parts), minibatch.num_distilled_tokens
            )

    def loss(self, micro_batch: MicroBatch) -> tuple[Tensor, LossStatistics]:
        """Returns the contribution of a micro-batch to the step's loss, a scalar with gradient, and its statistics.

        Where samples have no old log-probs, the current weights are the old ones, so ratios are 1.
        """
        samples, normalizer = micro_batch.samples, micro_batch.normalizer
        batch = self._batch(samples)
        mask = _trained_mask(samples, batch.completion_mask)
        divergences = None
        if any(sample.is_distilled for sample in samples):
            logps, entropies, divergences = self._with_divergences(samples, batch, mask)
        else:
            logps, entropies = self._logps_and_entropies(batch)
        has_old = samples[0].old_logps is not None
        old_logps = _padded((sample.old_logps for sample in samples), mask.device) if has_old else logps.detach()

        weights = kl = None
        if self._config.tis_cap is not None:
            engine_logps = _padded((sample.engine_logps for sample in samples), mask.device)
            weights = truncated_importance_weights(old_logps, engine_logps, self._config.tis_cap)
        if self._config.beta > 0:
            kl = self._kl(samples, logps, mask)
        question_weights = logps.new_tensor([sample.weight for sample in samples])
        inputs = LossInputs(logps, old_logps, micro_batch.advantages, mask, question_weights)
        regularisation = None if kl is None else self._kl_weight * kl
        if self._config.entropy_coef > 0:
            bonus = self._config.entropy_coef * entropies
            regularisation = -bonus if regularisation is None else regularisation - bonus
        loss, sums = summed_loss(self.policy_loss, inputs, normalizer, weights, regularisation)

        if self.distillation is not None:
            divergence = masked_sum(logps.new_zeros(()) if divergences is None else divergences, mask)
            divergence = divergence / (micro_batch.num_distilled_tokens or 1.0)
            loss = loss + self.distillation.weight * divergence
            sums["teacher_divergence"] = divergence
        sums |= {"loss": loss, "entropy": masked_sum(entropies, mask) / normalizer}
        if kl is not None:
            sums["kl"] = masked_sum(kl, mask) / normalizer
        metrics = {name: value.item() for name, value in sums.items()}
        sampling_logps = [
            row[: len(sample.completion_ids)].cpu() for sample, row in zip(samples, old_logps, strict=True)
        ]
        return loss, LossStatistics(samples, metrics, sampling_logps)

    @torch.no_grad()
    def compute_ref_and_old_logps(self, samples: list[Sample], *, has_old: bool) -> None:
        """Sets the log-probs of the reference policy if beta > 0, and those of the sampling policy if `has_old`."""
        if self._config.beta > 0:
            with self._as_reference() as reference:
                for sample, logps in self._sample_logps(reference, samples):
                    sample.ref_logps = logps
        if has_old:
            for sample, logps in self._sample_logps(self.model, samples):
                sample.old_logps = logps

    def _sample_logps(self, model: Any, samples: list[Sample]) -> Iterator[tuple[Sample, Tensor]]:
        """Yields each sample with the log-probs of its tokens, `[T]`."""
        for micro_batch, batch in self._passes(samples):
            for sample, logps in zip(micro_batch, self._logps(model, batch), strict=bool(micro_batch)):
                yield sample, logps[: len(sample.completion_ids)]

    @torch.no_grad()
    def policy_logps(self, samples: list[Sample]) -> list[Tensor]:
        """Returns the policy's log-probs of the completion tokens of each sample, `[T]` on the CPU."""
        logps_by_sample: dict[int, Tensor] = {}
        for micro_batch, batch in self._passes(samples):
            for sample, logps in zip(micro_batch, self._logps(self.model, batch), strict=bool(micro_batch)):
                logps_by_sample[id(sample)] = logps[: len(sample.completion_ids)].cpu()
        return [logps_by_sample[id(sample)] for sample in samples]

    @torch.no_grad()
    def compute_statistics(self, samples: list[Sample]) -> list[TokenStatistics]:
        """Returns the statistics of the policy's distribution at each token, and sets the old log-probs.

        One pass of the policy serves both, so that an update that needs the log-probs makes no further one.
        """
        statistics: dict[int, TokenStatistics] = {}
        for micro_batch, batch in self._passes(samples):
            scores = self._statistics(batch)
            for row, sample in enumerate(micro_batch):
                logps, *others = (column[row, : len(sample.completion_ids)] for column in scores)
                sample.old_logps = logps
                statistics[id(sample)] = TokenStatistics(*map(_compact, (logps, *others)))
        return [statistics[id(sample)] for sample in samples]

    def _passes(self, samples: list[Sample]) -> Iterator[tuple[list[Sample], RolloutBatch | PackedRollouts]]:
        """Yields the samples of each micro-batch with their batch; no samples where another process alone has some."""
        indices = self._split(samples)
        # All processes gather the layers of a sharded model together, so all need the same number of passes.
        for part in pad_to_longest(indices, filler=[]) if is_sharded(self.model) else indices:
            micro_batch = [samples[index] for index in part]
            yield micro_batch, self._batch(micro_batch or [_DUMMY])

    @property
    def _kl_weight(self) -> float:
        return self._config.beta if self._config.kl_placement is KLPlacement.loss else 0.0

    def _kl(self, samples: list[Sample], logps: Tensor, mask: Tensor) -> Tensor:
        """Returns the KL estimate of each token, `[B, T]`; padding is replaced by 0, so that it has no gradient."""
        is_token = mask.bool()
        ref_logps = _padded((sample.ref_logps for sample in samples), mask.device)
        return kl_estimate(
            torch.where(is_token, logps, 0.0), torch.where(is_token, ref_logps, 0.0), self._config.kl_estimator
        )

    def _split(self, samples: list[Sample]) -> list[list[int]]:
        """Returns the indices of the samples of each micro-batch."""
        if self.is_packed:
            prompts = [sample.prompt_ids for sample in samples]
            lengths = [len(sample.completion_ids) for sample in samples]
            return split_by_packed_tokens(prompts, lengths, self._config.micro_batch_tokens)
        return split_by_tokens([sample.num_tokens for sample in samples], self._config.micro_batch_tokens)

    @cached_property
    def _head_chunk_tokens(self) -> int | None:
        """The number of tokens whose logits exist at the same time, chosen at the first use; None for all."""
        given = self._config.head_chunk_tokens
        if not isinstance(given, str):
            return None if given is None else int(given)
        if changes_logits(self.model) is not None:
            return None
        device = self.model.device
        if device.type != "cuda":
            return LEAST_HEAD_TOKENS
        number = head_tokens(free_gpu_bytes(device), self.model.config.vocab_size, self.model.dtype.itemsize)
        log.info("logits of %d tokens at a time (grpo.head_chunk_tokens)", number)
        return number

    def _logps_and_entropies(self, batch: RolloutBatch | PackedRollouts) -> tuple[Tensor, Tensor]:
        settings = self._config.temperature, self._head_chunk_tokens
        if isinstance(batch, PackedRollouts):
            return call_as_forward(self.model, lambda model: packed_logps(model, batch, *settings, has_entropies=True))
        return call_as_forward(self.model, lambda model: completion_logps_and_entropies(model, batch, *settings))

    def _with_divergences(
        self, samples: Sequence[Sample], batch: RolloutBatch | PackedRollouts, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns log-probs, entropies and the divergences of the tokens that are drawn to the teacher, `[B, T]`."""
        assert self.distillation is not None
        with self._as_teacher() as teacher:
            states = teacher_states(teacher, batch, is_lent=teacher is self.model)
        is_drawn = mask.bool() & torch.tensor([[sample.is_distilled] for sample in samples], device=mask.device)
        chunk_tokens = self._head_chunk_tokens or len(states.hidden)
        settings = self._config.temperature, chunk_tokens, self.distillation.interpolation
        return scores_and_divergences(self.model, batch, states, is_drawn, *settings)

    @contextmanager
    def _as_teacher(self) -> Iterator[Any]:
        """Yields the model that is the teacher within the block."""
        if self.average is None:
            yield self.teacher_model
            return
        with self.average.in_place_of(self.model):
            yield self.model

    def _statistics(self, batch: RolloutBatch | PackedRollouts) -> tuple[Tensor, Tensor, Tensor]:
        settings = self._config.temperature, self._head_chunk_tokens
        if isinstance(batch, PackedRollouts):
            return call_as_forward(self.model, lambda model: packed_statistics(model, batch, *settings))
        return call_as_forward(self.model, lambda model: completion_statistics(model, batch, *settings))

    @contextmanager
    def _as_reference(self) -> Iterator[Any]:
        """Yields the model that is the reference of the KL within the block."""
        if self.average is not None and not self._config.keeps_reference:
            with self.average.in_place_of(self.model):
                yield self.model
        elif self.reference is self.model:
            with initial_adapters(self.model):
                yield self.model
        else:
            yield self.reference

    def _logps(self, model: Any, batch: RolloutBatch | PackedRollouts) -> Tensor:
        settings = self._config.temperature, self._head_chunk_tokens
        if isinstance(batch, PackedRollouts):
            return call_as_forward(model, lambda model: packed_logps(model, batch, *settings, has_entropies=False)[0])
        return call_as_forward(model, lambda model: completion_logps(model, batch, *settings))

    def _batch(self, samples: list[Sample]) -> RolloutBatch | PackedRollouts:
        prompts = [sample.prompt_ids for sample in samples]
        completions = [sample.completion_ids for sample in samples]
        if self.is_packed:
            device, dtype = self.model.device, self.model.dtype
            return pack_rollouts(prompts, completions, device, dtype, has_blocks=takes_blocks(self.model))
        return pad_rollouts(prompts, completions, self._pad_token_id, self.model.device)


def _trained_mask(samples: Sequence[Sample], completion_mask: Tensor) -> Tensor:
    """Returns 1 for the tokens that are trained, `[B, T]`: none of a dummy, else all that no mask leaves out."""
    if samples[0].is_dummy:
        return torch.zeros_like(completion_mask)
    if all(sample.token_mask is None for sample in samples):
        return completion_mask
    rows = [
        torch.ones(len(sample.completion_ids)) if sample.token_mask is None else sample.token_mask.float()
        for sample in samples
    ]
    return completion_mask * pad_sequence(rows, batch_first=True).to(completion_mask)


def _compact(values: Tensor) -> array[float]:
    """Returns the values of a tensor, `[T]`, in an array of their own number format; it is float32 at least."""
    return array("d" if values.dtype == torch.float64 else "f", values.tolist())


def _padded(logps: Iterable[Tensor | None], device: torch.device) -> Tensor:
    """Returns the log-probs of samples, `[B, T]`; those of engines, other processes and dummies come from the CPU."""
    return pad_sequence([values.to(device) for values in require_logps(logps)], batch_first=True)
