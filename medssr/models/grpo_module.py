"""GRPO as a LightningModule: `training_step` is the algorithm."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from statistics import fmean
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from medssr.answers import extract_choice
from medssr.config import GRPOConfig, KLPlacement, Truncated
from medssr.data.step_loader import StepBatch
from medssr.models.optimizer_step import advance_schedule, take_optimizer_step
from medssr.models.policy import Policy
from medssr.questions import Question
from medssr.rewards.types import Reward, total_reward
from medssr.rl.advantages import group_advantages
from medssr.rl.batching import RolloutBatch, pad_rollouts, split_by_tokens
from medssr.rl.importance import engine_gap, truncated_importance_weights
from medssr.rl.kl import sequence_kls
from medssr.rl.logprobs import completion_logps, completion_logps_and_entropies
from medssr.rl.losses import policy_loss
from medssr.rl.metrics import rollout_metrics, signal_metrics
from medssr.rl.minibatches import Minibatch, TrainingRow, known, make_minibatches, training_rows
from medssr.rl.shaping import overlong_penalty
from medssr.rollout.engine import RolloutEngine
from medssr.rollout.types import Completion, Rollout, RolloutGroup, Sampling
from medssr.utils.seeding import derive_seed

Metrics = dict[str, float]


class GRPOModule(L.LightningModule):
    """Group-relative policy optimisation of one stage.

    Args:
        policy: What is trained.
        reference: The frozen model that the KL term holds the policy to; None where beta is 0.
        engine: Samples the rollouts.
        rewards: Rewards by name.
        config: The algorithm's settings.
        optimizer: Makes the optimiser from the parameters.
        scheduler: Makes the learning-rate schedule from the optimiser.
        seed: Run seed; every rollout's seed derives from it.
        stage: Name of the stage.
        source: The question file, for messages.
    """

    def __init__(
        self,
        policy: Policy,
        reference: Any | None,
        engine: RolloutEngine,
        rewards: Mapping[str, Reward],
        config: GRPOConfig,
        optimizer: Callable[..., torch.optim.Optimizer],
        scheduler: Callable[..., Any],
        seed: int,
        stage: str,
        source: str,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # a step is split into micro-batches by tokens
        self.model = policy.model
        self.policy = policy
        # In a tuple, since an attribute would make the frozen weights part of every checkpoint.
        self._reference = (reference,)
        self.engine = engine
        self.rewards = rewards
        self.config = config
        self._make_optimizer = optimizer
        self._make_scheduler = scheduler
        self.seed = seed
        self.stage = stage
        self.source = source

    def training_step(self, batch: StepBatch[Question], batch_idx: int) -> None:
        """Rolls out, rewards, compares within groups, and updates the policy."""
        start = time.monotonic()
        groups = self.roll_out(batch)
        rollout_seconds = time.monotonic() - start

        rows = training_rows(groups)  # [P][G]
        rewards = self.score(groups, rows)  # [P, G], NaN where a completion has none
        advantages = group_advantages(rewards, self.config.scale_rewards)
        metrics = self.update(make_minibatches(rows, rewards, advantages, self.config))

        metrics |= rollout_metrics(groups) | signal_metrics(rewards)
        metrics["time/rollout"] = rollout_seconds
        metrics["time/step"] = time.monotonic() - start
        # Not by log_dict, which writes after the callbacks: a checkpoint must find the row of its own step written.
        for logger in self.loggers:
            logger.log_metrics(metrics, step=batch.step)
        self.log("train/reward", metrics["train/reward"], prog_bar=True, logger=False, batch_size=len(groups))

    def roll_out(self, batch: StepBatch[Question]) -> list[RolloutGroup]:
        """Returns the step's rollouts with their rewards."""
        config = self.config
        sampling = Sampling(config.temperature, config.max_new_tokens)
        prompts = self.policy.encode(batch.items, config.max_new_tokens, self.source)
        seeds = [
            [
                derive_seed(self.seed, self.stage, batch.step, question.id, sample)
                for sample in range(config.num_generations)
            ]
            for question in batch.items
        ]
        groups = self.engine.generate(prompts, seeds, sampling)
        return [
            RolloutGroup(question, prompt, [self._judge(question, completion) for completion in completions])
            for question, prompt, completions in zip(batch.items, prompts, groups, strict=True)
        ]

    def _judge(self, question: Question, completion: Completion) -> Rollout:
        choice = extract_choice(completion.text, question.options)
        return Rollout(completion, choice, total_reward(self.rewards, question, completion, choice))

    def score(self, groups: list[RolloutGroup], rows: list[list[TrainingRow]]) -> Tensor:
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
            self._remember_logps(every_row, has_old=True)
            old_logps, ref_logps = known(row.old_logps for row in every_row), known(row.ref_logps for row in every_row)
            rewards = rewards - config.beta * sequence_kls(old_logps, ref_logps, config.kl_estimator).view_as(rewards)
        return rewards

    def update(self, minibatches: list[Minibatch]) -> Metrics:
        """Takes the optimiser steps of one rollout and returns the means of their metrics."""
        rows = [row for minibatch in minibatches for row in minibatch.rows]
        if self.config.kl_placement is KLPlacement.loss:
            # The first of several minibatches moves the weights that sampled the second.
            self._remember_logps(rows, has_old=len(minibatches) > 1)
        steps = [
            self._optimizer_step(minibatch)
            for _ in range(self.config.num_iterations)
            for minibatch in minibatches
            if minibatch.rows
        ]
        metrics = {name: fmean(step[name] for step in steps) for name in steps[0]} if steps else {}
        if rows:
            old_logps = torch.cat(known(row.old_logps for row in rows)).cpu()
            engine_logps = torch.cat([row.engine_logps for row in rows])
            metrics |= engine_gap(old_logps, engine_logps, self.config.importance_cap)
        metrics["lr"] = advance_schedule(self)
        self.engine.sync_weights(self.model)
        return {f"train/{name}": value for name, value in metrics.items()}

    def _optimizer_step(self, minibatch: Minibatch) -> Metrics:
        """Gathers the gradient over micro-batches and takes the step."""
        totals: defaultdict[str, float] = defaultdict(float)
        for places in self._micro_batches(minibatch.rows):
            rows = [minibatch.rows[place] for place in places]
            advantages = torch.tensor([minibatch.advantages[place] for place in places], device=self.device)
            loss, shares = self.loss(rows, advantages, minibatch.normalizer)
            self.manual_backward(loss)
            for name, share in shares.items():
                totals[name] += share.item()
        # The metrics are means over the tokens that were looked at; the loss keeps the weight that it trains with.
        num_seen = sum(len(row.completion_ids) for row in minibatch.rows)
        metrics = {
            name: value if name == "loss" else value * minibatch.normalizer / num_seen for name, value in totals.items()
        }
        metrics["grad_norm"] = take_optimizer_step(self, self.config.max_grad_norm)
        return metrics

    def loss(self, rows: list[TrainingRow], advantages: Tensor, normalizer: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the micro-batch's share of the step's loss, and of its metrics."""
        config = self.config
        batch = self._pad(rows)
        logps, entropies = completion_logps_and_entropies(
            self.model, batch, config.temperature, config.head_chunk_tokens
        )
        for row, row_logps in zip(rows, logps.detach(), strict=True):
            if row.old_logps is None:  # the first pass: the policy that sampled is the policy that is trained
                row.old_logps = row_logps[: len(row.completion_ids)]
        old_logps = pad_sequence(known(row.old_logps for row in rows), batch_first=True)
        importance_weights = ref_logps = None
        if config.importance_cap is not None:
            engine_logps = pad_sequence([row.engine_logps for row in rows], batch_first=True).to(self.device)
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
    def _remember_logps(self, rows: list[TrainingRow], *, has_old: bool) -> None:
        """Fills in the reference's log-probs where there is a reference, and if told so those of the policy."""
        for places in self._micro_batches(rows):
            micro_batch = [rows[place] for place in places]
            batch = self._pad(micro_batch)
            if self.config.beta > 0:
                for row, logps in zip(micro_batch, self._logps(self._reference[0], batch), strict=True):
                    row.ref_logps = logps[: len(row.completion_ids)]
            if has_old:
                for row, logps in zip(micro_batch, self._logps(self.model, batch), strict=True):
                    row.old_logps = logps[: len(row.completion_ids)]

    def _logps(self, model: Any, batch: RolloutBatch) -> Tensor:
        return completion_logps(model, batch, self.config.temperature, self.config.head_chunk_tokens)

    def _micro_batches(self, rows: list[TrainingRow]) -> list[list[int]]:
        return split_by_tokens([row.num_tokens for row in rows], self.config.micro_batch_tokens)

    def _pad(self, rows: list[TrainingRow]) -> RolloutBatch:
        prompts, completions = [row.prompt_ids for row in rows], [row.completion_ids for row in rows]
        return pad_rollouts(prompts, completions, self.policy.tokenizer.pad_token_id, self.device)

    def configure_optimizers(self) -> Any:
        """Returns optimiser and schedule."""
        optimizer = self._make_optimizer(self.model.parameters())
        return {"optimizer": optimizer, "lr_scheduler": self._make_scheduler(optimizer)}

    def on_fit_start(self) -> None:
        """Brings the reference policy to the policy's device."""
        if self._reference[0] is not None:
            self._reference[0].to(self.device).eval()
