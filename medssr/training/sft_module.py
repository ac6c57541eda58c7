"""Supervised fine-tuning (SFT) on demonstrations as a LightningModule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
import torch

from medssr.models.batching import pad_rollouts, split_by_tokens
from medssr.models.logprobs import completion_logits, token_logps
from medssr.models.policy import Policy
from medssr.training.optimizer_step import SkippedSteps, advance_schedule, take_optimizer_step
from medssr.training.step_loader import StepBatch

Sample = tuple[list[int], list[int]]  # token ids of prompt and completion


class SFTModule(L.LightningModule):
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
        super().__init__()
        self.automatic_optimization = False  # a step is split into micro-batches by tokens
        self.model = policy.model
        self._pad_id = policy.tokenizer.pad_token_id
        self._make_optimizer = optimizer
        self._make_scheduler = scheduler
        self._micro_batch_tokens = micro_batch_tokens
        self._max_grad_norm = max_grad_norm
        self._skipped_steps = SkippedSteps(max_skipped_steps, "sft.max_skipped_steps")

    def training_step(self, batch: StepBatch[Sample], batch_idx: int) -> None:
        """Takes one optimiser step on the samples of the batch."""
        samples = batch.items
        num_tokens = sum(len(completion) for _, completion in samples)
        total_loss = 0.0
        for indices in split_by_tokens([len(p) + len(c) for p, c in samples], self._micro_batch_tokens):
            prompts, completions = zip(*(samples[index] for index in indices), strict=True)
            padded = pad_rollouts(prompts, completions, self._pad_id, self.device)
            logps = token_logps(completion_logits(self.model, padded, temperature=1.0), padded.completion_ids)
            loss = -(logps * padded.completion_mask).sum() / num_tokens
            self.manual_backward(loss)
            total_loss += loss.item()
        norm = take_optimizer_step(self, self._max_grad_norm, total_loss)
        if norm is None:
            self._skipped_steps.skipped(batch.step, [f"the samples of step {batch.step}"])
            metrics = {"train/skipped_steps": 1.0}
        else:
            self._skipped_steps.took()
            metrics = {"train/loss": total_loss, "train/grad_norm": norm, "train/skipped_steps": 0.0}
        metrics["train/num_tokens"] = float(sum(len(prompt) + len(completion) for prompt, completion in samples))
        advance_schedule(self)
        for logger in self.loggers:
            logger.log_metrics(metrics, step=batch.step)
        self.log("train/loss", total_loss, prog_bar=True, logger=False, batch_size=len(samples))

    def configure_optimizers(self) -> Any:
        """Returns optimiser and schedule."""
        optimizer = self._make_optimizer(self.model.parameters())
        return {"optimizer": optimizer, "lr_scheduler": self._make_scheduler(optimizer)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the count of skipped steps."""
        checkpoint["skipped_steps"] = self._skipped_steps.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores the count of skipped steps."""
        self._skipped_steps.load_state_dict(checkpoint["skipped_steps"])

    def transfer_batch_to_device(self, batch: StepBatch[Sample], device: torch.device, dataloader_idx: int) -> Any:
        """Returns the batch unchanged: samples become tensors in micro-batches."""
        return batch
