"""GRPO as a LightningModule: `training_step` is the algorithm."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable
from statistics import fmean
from typing import Any

import lightning as L
import torch
from torch import Tensor

from medssr.config import GRPOConfig, KLPlacement, Truncated
from medssr.engines.hf_engine import HFEngine
from medssr.errors import InputError
from medssr.grpo.advantages import group_advantages, groups_to_train, has_signal, overlong_penalty
from medssr.grpo.kl import engine_gap, sequence_kls
from medssr.grpo.metrics import step_metrics
from medssr.grpo.minibatches import Minibatch, Sample, known, make_minibatches, training_rows
from medssr.grpo.objective import Objective
from medssr.grpo.records import RolloutGroup, StepRollouts
from medssr.grpo.rollouts import RolloutCollector
from medssr.models.sharding import is_sharded, shard
from medssr.questions import Question
from medssr.training.optimizer_step import SkippedSteps, add_gradient, advance_schedule, take_optimizer_step
from medssr.training.step_loader import StepBatch
from medssr.utils.processes import gathered, means

Metrics = dict[str, float]


class GRPOModule(L.LightningModule):
    """Group-relative policy optimisation of one stage.

    Args:
        rollouts: Samples completions of the step's questions and judges them.
        objective: The loss of completions, with the policy and the reference that it compares.
        config: The algorithm's settings.
        optimizer: Makes the optimiser from the parameters.
        scheduler: Makes the learning-rate schedule from the optimiser.
    """

    def __init__(
        self,
        rollouts: RolloutCollector,
        objective: Objective,
        config: GRPOConfig,
        optimizer: Callable[..., torch.optim.Optimizer],
        scheduler: Callable[..., Any],
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # a step is split into micro-batches by tokens
        self.model = objective.model  # the objective is no module, so the frozen reference stays out of checkpoints
        self.rollouts = rollouts
        self.objective = objective
        self.config = config
        self.skipped_steps = SkippedSteps(config.max_skipped_steps, "grpo.max_skipped_steps")
        self.strict_loading = all(weight.requires_grad for weight in self.model.parameters())  # see state_dict
        self.last_step: StepRollouts | None = None  # for callbacks
        self._make_optimizer = optimizer
        self._make_scheduler = scheduler

    def training_step(self, batch: StepBatch[Question], batch_idx: int) -> None:
        """Rolls out, rewards, compares within groups, and updates the policy."""
        start = time.monotonic()
        own = batch.share(self.global_rank, self.trainer.world_size)
        groups, rows, rewards = self.roll_out(own)  # rewards [P, G], NaN where a completion has none
        rollout_seconds = time.monotonic() - start

        every_reward = gathered(rewards)  # of each process: what scales rewards may be the deviation of the whole step
        every_advantage = group_advantages(torch.cat(every_reward), self.config.scale_rewards)
        advantages = every_advantage.split([len(one) for one in every_reward])[self.global_rank]
        trained = groups_to_train(has_signal(rewards).tolist(), len(own.items))
        metrics = self.update(
            batch.step,
            make_minibatches(
                [rows[place] for place in trained],
                rewards[trained],
                advantages[trained],
                self.config,
                self.trainer.world_size,
            ),
        )

        groups, rewards = [group for share in gathered(groups) for group in share], torch.cat(every_reward)
        metrics |= step_metrics(groups, rewards, every_advantage)
        metrics["train/refill_share"] = len(groups) / len(batch.items) - 1
        self.last_step = StepRollouts(batch.step, groups, rewards.tolist(), every_advantage.tolist())
        metrics["time/rollout"] = rollout_seconds
        metrics["time/step"] = time.monotonic() - start
        # Not by log_dict, which writes after the callbacks: a checkpoint must find the row of its own step written.
        for logger in self.loggers:
            logger.log_metrics(metrics, step=batch.step)
        self.log("train/reward", metrics["train/reward"], prog_bar=True, logger=False, batch_size=len(groups))

    def roll_out(self, batch: StepBatch[Question]) -> tuple[list[RolloutGroup], list[list[Sample]], Tensor]:
        """Returns the step's groups, their rows `[P][G]` and their rewards `[P, G]`, with those of its refills."""
        groups = self.rollouts.collect(batch)
        rows = training_rows(groups)
        rewards = self.score(groups, rows)
        for spares in batch.spares:
            num_missing = len(batch.items) - int(has_signal(rewards).sum())
            asked = {group.question.id for group in groups}  # again it would get the same completions
            further = list({question.id: question for question in spares if question.id not in asked}.values())
            if num_missing == 0 or not further:
                break
            new = self.rollouts.collect(StepBatch(batch.step, further[:num_missing]))
            new_rows = training_rows(new)
            rewards = torch.cat([rewards, self.score(new, new_rows)])
            groups += new
            rows += new_rows
        return groups, rows, rewards

    def score(self, groups: list[RolloutGroup], rows: list[list[Sample]]) -> Tensor:
        """Returns the rewards that advantages are made of, `[P, G]`; NaN for a completion that could not be scored."""
        config = self.config
        completions = [[rollout.completion for rollout in group.rollouts] for group in groups]
        rewards = torch.tensor([[rollout.reward for rollout in group.rollouts] for group in groups])
        if config.truncated is Truncated.mask:
            cut = torch.tensor([[completion.is_truncated for completion in row] for row in completions])
            rewards = rewards.masked_fill(cut, torch.nan)
        if config.overlong_buffer > 0:
            lengths = torch.tensor([[len(completion.token_ids) for completion in row] for row in completions])
            penalty = overlong_penalty(lengths, config.max_new_tokens, config.overlong_buffer)
            rewards = rewards - config.overlong_penalty * penalty
        if config.beta > 0 and config.kl_placement is KLPlacement.reward:
            every_row = [row for group in rows for row in group]
            self.objective.remember_logps(every_row, has_old=True)
            old_logps, ref_logps = known(row.old_logps for row in every_row), known(row.ref_logps for row in every_row)
            kls = sequence_kls(old_logps, ref_logps, config.kl_estimator).cpu()
            rewards = rewards - config.beta * kls.view_as(rewards)
        return rewards

    def update(self, step: int, minibatches: list[Minibatch]) -> Metrics:
        """Takes the optimiser steps of one rollout and returns the means of their metrics."""
        rows = [row for minibatch in minibatches for row in minibatch.rows]
        if self.config.kl_placement is KLPlacement.loss:
            # The first of several minibatches moves the weights that sampled the second.
            self.objective.remember_logps(rows, has_old=len(minibatches) > 1)
        tried = [
            self._optimizer_step(step, minibatch)
            for _ in range(self.config.num_iterations)
            for minibatch in minibatches
            if any(gathered(bool(minibatch.rows)))
        ]
        taken = [metrics for metrics in tried if metrics is not None]
        metrics = {name: fmean(one[name] for one in taken) for name in taken[0]} if taken else {}
        metrics["skipped_steps"] = len(tried) - len(taken)
        logps = [
            (torch.cat(known(row.old_logps for row in own)).cpu(), torch.cat([row.engine_logps for row in own]))
            for own in gathered(rows)
            if own
        ]
        if logps:
            old_logps, engine_logps = (torch.cat(column) for column in zip(*logps, strict=True))
            metrics |= engine_gap(old_logps, engine_logps, self.config.importance_cap)
        metrics["lr"] = advance_schedule(self)
        self.rollouts.engine.sync_weights(self.model)
        return {f"train/{name}": value for name, value in metrics.items()}

    def _optimizer_step(self, step: int, minibatch: Minibatch) -> Metrics | None:
        """Gathers the gradient over micro-batches and takes the step; returns None where it was skipped."""
        totals: defaultdict[str, float] = defaultdict(float)
        suspects: list[Sample] = []
        micro_batches = self.objective.micro_batches(minibatch.rows)
        for number, places in enumerate(micro_batches, start=1):
            rows = [minibatch.rows[place] for place in places]
            advantages = torch.tensor([minibatch.advantages[place] for place in places], device=self.device)
            loss, shares = self.objective.loss(rows, advantages, minibatch.normalizer)
            add_gradient(self, loss, is_last=number == len(micro_batches))
            for name, share in shares.items():
                totals[name] += share.item()
            if not math.isfinite(loss.item()):
                suspects += rows
        norm = take_optimizer_step(self, self.config.max_grad_norm, totals["loss"])
        if norm is None:
            self.skipped_steps.skipped(step, [row.question_id for row in suspects or minibatch.rows])
            return None
        self.skipped_steps.took()
        # The metrics are means over the tokens that were looked at; the loss keeps the weight that it trains with.
        totals["seen"] = sum(len(row.completion_ids) for row in minibatch.rows)
        found = means(totals)
        num_seen = found.pop("seen")
        metrics = {
            name: value if name == "loss" else value * minibatch.normalizer / num_seen for name, value in found.items()
        }
        metrics["grad_norm"] = norm
        return metrics

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Returns the weights that are trained: those that adapters leave as they were loaded need no checkpoint."""
        weights: dict[str, Any] = super().state_dict(*args, **kwargs)
        for name, weight in self.named_parameters(remove_duplicate=False):
            if not weight.requires_grad:
                weights.pop(name, None)
        return weights

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the run of skipped steps."""
        checkpoint["skipped_steps"] = self.skipped_steps.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on with the run of skipped steps."""
        self.skipped_steps.load_state_dict(checkpoint["skipped_steps"])

    def configure_optimizers(self) -> Any:
        """Returns optimiser and schedule."""
        optimizer = self._make_optimizer([weight for weight in self.model.parameters() if weight.requires_grad])
        return {"optimizer": optimizer, "lr_scheduler": self._make_scheduler(optimizer)}

    def setup(self, stage: str) -> None:
        """Checks that the processes can share the questions of a step equally.

        Raises:
            InputError: When they cannot.
        """
        for key in ("num_prompts_per_step", "num_prompts_per_update"):
            number = getattr(self.config, key)
            if number is not None and number % self.trainer.world_size:
                raise InputError(
                    f"grpo.{key}: {number} questions cannot be shared equally by {self.trainer.world_size} processes; "
                    "make it a multiple of them."
                )

    def configure_model(self) -> None:
        """Spreads policy and reference over the processes, where the strategy asks for it.

        Raises:
            InputError: When what is configured cannot be spread.
        """
        if self.device_mesh is None or is_sharded(self.model):
            return
        if isinstance(self.rollouts.engine, HFEngine):
            raise InputError("rollout: hf generates with the trained model, which is spread over processes; take vllm.")
        if not self.strict_loading:
            raise InputError("lora: adapters are trained on models that each device holds whole; take trainer=ddp.")
        if self.config.kl_placement is KLPlacement.reward and self.config.max_refills > 0:
            raise InputError("grpo.max_refills: 0 where a spread model computes the KL in the reward.")
        dtype = torch.bfloat16 if str(self.trainer.precision).startswith("bf16") else torch.float32
        for model in (self.model, self.objective.reference):
            if model is not None:
                shard(model, self.device_mesh["data_parallel"], dtype)

    def on_fit_start(self) -> None:
        """Brings a reference policy of its own to the policy's device."""
        if self.objective.reference not in (None, self.model):
            self.objective.reference.to(self.device).eval()
