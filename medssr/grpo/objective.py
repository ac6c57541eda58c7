"""What the policy is trained on: the loss of completions, and the log-probs that it compares."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from medssr.config import GRPOConfig, KLPlacement
from medssr.grpo.kl import truncated_importance_weights
from medssr.grpo.losses import policy_loss
from medssr.grpo.minibatches import Sample, known
from medssr.models.attention import adopt_attention
from medssr.models.batching import RolloutBatch, pad_rollouts, split_by_tokens
from medssr.models.logprobs import completion_logps, completion_logps_and_entropies, packed_logps
from medssr.models.lora import without_adapters
from medssr.models.packing import PackedRollouts, pack_rollouts, split_by_packed_tokens
from medssr.models.sharding import computed, is_sharded
from medssr.utils.processes import gathered

# One token after another, for a pass that only keeps other processes company.
_IDLE = Sample("", [0], [0], torch.zeros(1))


class Objective:
    """The loss of completions under a policy and the frozen model that holds it.

    Args:
        model: The policy's model.
        reference: What the KL is measured to; None where beta is 0. May be the policy's own model where that has
            adapters: then it is the model without them.
        pad_token_id: Fills up the rows of a micro-batch.
        config: The algorithm's settings.
    """

    def __init__(self, model: Any, reference: Any | None, pad_token_id: int, config: GRPOConfig) -> None:
        self.model = model
        self.reference = reference
        self._pad_token_id = pad_token_id
        self._config = config
        # A reference has the family and the settings of its policy, so it takes the same batches.
        self._is_packed = adopt_attention(model) and (reference is None or adopt_attention(reference))

    def micro_batches(self, rows: list[Sample]) -> list[list[int]]:
        """Returns the places of the rows that go through the model together.

        Of several processes, each gets as many micro-batches as the one with the most, the last of them empty: they
        average gradients, so each has to take part in every pass.
        """
        own = self._split(rows)
        return own + [[] for _ in range(max(gathered(len(own))) - len(own))]

    def _split(self, rows: list[Sample]) -> list[list[int]]:
        if self._is_packed:
            prompts, lengths = [row.prompt_ids for row in rows], [len(row.completion_ids) for row in rows]
            return split_by_packed_tokens(prompts, lengths, self._config.micro_batch_tokens)
        return split_by_tokens([row.num_tokens for row in rows], self._config.micro_batch_tokens)

    def loss(self, rows: list[Sample], advantages: Tensor, normalizer: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the micro-batch's share of the step's loss, and of its metrics.

        Args:
            rows: B completions; none for a pass that leaves gradients as they are. Where one has no old log-probs yet,
                these here become them.
            advantages: `[B]`.
            normalizer: What the sum of the step's losses is divided by.
        """
        config = self._config
        if not rows:
            logps, _ = self._logps_and_entropies(self._batch([_IDLE]))
            return 0.0 * logps.sum(), {}
        batch = self._batch(rows)
        logps, entropies = self._logps_and_entropies(batch)
        for row, row_logps in zip(rows, logps.detach(), strict=True):
            if row.old_logps is None:  # the first pass: the policy that sampled is the policy that is trained
                row.old_logps = row_logps[: len(row.completion_ids)]
        old_logps = pad_sequence(known(row.old_logps for row in rows), batch_first=True)
        importance_weights = ref_logps = None
        if config.importance_cap is not None:
            engine_logps = pad_sequence([row.engine_logps for row in rows], batch_first=True).to(self.model.device)
            importance_weights = truncated_importance_weights(old_logps, engine_logps, config.importance_cap)
        if config.beta > 0:
            ref_logps = pad_sequence(known(row.ref_logps for row in rows), batch_first=True)
        loss, metrics = policy_loss(
            logps,
            old_logps,
            advantages,
            batch.completion_mask,
            loss_type=config.loss_type,
            epsilon=config.epsilon,
            epsilon_high=config.epsilon_high,
            dual_clip=config.dual_clip,
            sapo_temperature_positive=config.sapo_temperature_positive,
            sapo_temperature_negative=config.sapo_temperature_negative,
            importance_weights=importance_weights,
            ref_per_token_logps=ref_logps,
            beta=config.beta if config.kl_placement is KLPlacement.loss else 0.0,
            kl_estimator=config.kl_estimator,
            normalizer=normalizer,
        )
        metrics["loss"] = loss.detach()
        metrics["entropy"] = (entropies * batch.completion_mask).sum() / normalizer
        return loss, metrics

    @torch.no_grad()
    def remember_logps(self, rows: list[Sample], *, has_old: bool) -> None:
        """Fills in the reference's log-probs where there is a reference, and if told so those of the policy."""
        for places in self.micro_batches(rows) if is_sharded(self.model) else self._split(rows):
            micro_batch = [rows[place] for place in places]
            batch = self._batch(micro_batch or [_IDLE])
            if self._config.beta > 0:
                for row, logps in zip(micro_batch, self._reference_logps(batch), strict=bool(micro_batch)):
                    row.ref_logps = logps[: len(row.completion_ids)]
            if has_old:
                for row, logps in zip(micro_batch, self._logps(self.model, batch), strict=bool(micro_batch)):
                    row.old_logps = logps[: len(row.completion_ids)]

    def _logps_and_entropies(self, batch: RolloutBatch | PackedRollouts) -> tuple[Tensor, Tensor]:
        settings = self._config.temperature, self._config.head_chunk_tokens
        if isinstance(batch, PackedRollouts):
            return computed(self.model, lambda model: packed_logps(model, batch, *settings, has_entropies=True))
        return computed(self.model, lambda model: completion_logps_and_entropies(model, batch, *settings))

    def _reference_logps(self, batch: RolloutBatch | PackedRollouts) -> Tensor:
        if self.reference is not self.model:
            return self._logps(self.reference, batch)
        with without_adapters(self.model):
            return self._logps(self.model, batch)

    def _logps(self, model: Any, batch: RolloutBatch | PackedRollouts) -> Tensor:
        settings = self._config.temperature, self._config.head_chunk_tokens
        if isinstance(batch, PackedRollouts):
            return computed(model, lambda model: packed_logps(model, batch, *settings, has_entropies=False)[0])
        return computed(model, lambda model: completion_logps(model, batch, *settings))

    def _batch(self, rows: list[Sample]) -> RolloutBatch | PackedRollouts:
        prompts, completions = [row.prompt_ids for row in rows], [row.completion_ids for row in rows]
        if self._is_packed:
            return pack_rollouts(prompts, completions, self.model.device, self.model.dtype)
        return pad_rollouts(prompts, completions, self._pad_token_id, self.model.device)
