"""Supervised fine-tuning (SFT) on demonstrations as a LightningModule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from medssr.models.batching import pad_rollouts, split_by_tokens
from medssr.models.logprobs import completion_logits
from medssr.models.policy import Policy
from medssr.models.sharding import call_as_forward
from medssr.models.token_scores import token_logps
from medssr.training.demonstrations import Sample
from medssr.training.joint_stop import agree_to_stop
from medssr.training.optimizer_step import SkippedSteps, add_gradient, advance_schedule, take_optimizer_step
from medssr.training.step_loader import StepBatch
from medssr.training.trained_module import TrainedModule
from medssr.utils.processes import average_number, pad_to_longest

_DUMMY: Sample = ([0], [0])


class SFTModule(TrainedModule):
    """Maximises the likelihood of completions given their prompts; every token of a step has the same weight.

    Args:
        policy: The policy to train.
        optimizer: Creates the optimiser for the given parameters.
        scheduler: Creates the learning-rate schedule for the given optimiser.
        micro_batch_tokens: Tokens, padding included, of one forward and backward pass.
        max_grad_norm: The largest norm of the gradients after clipping.
        max_skipped_steps: Number of consecutive steps with a non-finite loss or gradient that stops the training.
    """

    def __init__(
        self,
        policy: Policy,
        optimizer: Callable[..., torch.optim.Optimizer],
        scheduler: Callable[..., Any],
        micro_batch_tokens: int,
        max_grad_norm: float,
        max_skipped_steps: int,
    ) -> None:
        skipped_steps = SkippedSteps(max_skipped_steps, "sft.max_skipped_steps")
        super().__init__(policy.model, optimizer, scheduler, skipped_steps, policy.load_whole)
        self._pad_id = policy.tokenizer.pad_token_id
        self._micro_batch_tokens = micro_batch_tokens
        self._max_grad_norm = max_grad_norm

    def training_step(self, batch: StepBatch[Sample], batch_idx: int) -> None:
        """Takes one optimiser step on the samples of the batch, which the processes share."""
        agree_to_stop()
        with self.traced(batch.step):
            mean_loss, norm = self._update(batch)
        if norm is None:
            self.skipped_steps.skipped(batch.step, [f"the samples of step {batch.step}"])
            metrics = {"train/skipped_steps": 1.0}
        else:
            self.skipped_steps.took()
            metrics = {"train/loss": mean_loss, "train/grad_norm": norm, "train/skipped_steps": 0.0}
        metrics["train/num_tokens"] = float(sum(len(prompt) + len(completion) for prompt, completion in batch.items))
        advance_schedule(self)
        self.log_step(batch.step, metrics)
        self.log("train/loss", mean_loss, logger=False, batch_size=len(batch.items))

    def _update(self, batch: StepBatch[Sample]) -> tuple[float, float | None]:
        """Takes an optimiser step; returns the mean loss, and the norm of the gradient (None if it was skipped)."""
        samples = batch.shard(self.global_rank, self.trainer.world_size).items
        # Processes average their gradients, so each divides by the mean of their numbers of tokens.
        num_tokens = average_number(sum(len(completion) for _, completion in samples))
        micro_batches = pad_to_longest(self._split(samples), filler=[])
        local_loss = 0.0
        for number, indices in enumerate(micro_batches, start=1):
            loss = self._loss([samples[index] for index in indices]) / num_tokens
            add_gradient(self, loss, is_last=number == len(micro_batches))
            local_loss += loss.item()
        norm = take_optimizer_step(self, self._max_grad_norm, local_loss)
        return average_number(local_loss), norm

    def _split(self, samples: list[Sample]) -> list[list[int]]:
        """Returns the indices of the samples of each micro-batch."""
        return split_by_tokens([len(p) + len(c) for p, c in samples], self._micro_batch_tokens)

    def _loss(self, samples: list[Sample]) -> torch.Tensor:
        """Returns the summed negative log-probs of the completions' tokens; 0 with a gradient where there are none.

        A process without samples takes part in the collective calls of the others.
        """
        prompts, completions = zip(*(samples or [_DUMMY]), strict=True)
        padded = pad_rollouts(prompts, completions, self._pad_id, self.device)
        logps = call_as_forward(
            self.model,
            lambda model: token_logps(completion_logits(model, padded, temperature=1.0), padded.completion_ids),
        )
        mask = padded.completion_mask if samples else torch.zeros_like(padded.completion_mask)
        return -(logps * mask).sum()

    def transfer_batch_to_device(self, batch: StepBatch[Sample], device: torch.device, dataloader_idx: int) -> Any:
        """Returns the batch unchanged: samples become tensors in micro-batches."""
        return batch
