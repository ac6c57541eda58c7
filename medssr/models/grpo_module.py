"""GRPO as a LightningModule: `training_step` is the algorithm."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import lightning as L
import torch
from torch import Tensor

from medssr.answers import extract_choice
from medssr.config import GRPOConfig
from medssr.data.step_loader import StepBatch
from medssr.models.optimizer_step import advance_schedule, take_optimizer_step
from medssr.models.policy import Policy
from medssr.questions import Question
from medssr.rewards.types import Reward, total_reward
from medssr.rl.advantages import group_advantages, has_signal
from medssr.rl.batching import RolloutBatch, pad_rollouts, split_by_tokens
from medssr.rl.logprobs import completion_logits, token_entropies, token_logps
from medssr.rl.losses import policy_loss
from medssr.rl.metrics import rollout_metrics
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
        """Rolls out, rewards, compares within groups, and takes one optimiser step."""
        start = time.monotonic()
        groups = self.roll_out(batch)
        rollout_seconds = time.monotonic() - start

        rewards = torch.tensor([[rollout.reward for rollout in group.rollouts] for group in groups])  # [P, G]
        advantages = group_advantages(rewards, self.config.scale_rewards)
        metrics = self.update(groups, advantages, has_signal(rewards))

        metrics |= rollout_metrics(groups)
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

    def update(self, groups: list[RolloutGroup], advantages: Tensor, group_has_signal: Tensor) -> Metrics:
        """Takes one optimiser step on the groups that have a gradient and returns the step's metrics."""
        rows = [
            (group.prompt_ids, rollout.completion.token_ids, advantage)
            for group, group_advantages_, keep in zip(
                groups, advantages.tolist(), group_has_signal.tolist(), strict=True
            )
            if keep
            for rollout, advantage in zip(group.rollouts, group_advantages_, strict=True)
        ]
        # Tokens of all groups count, also of those without gradient: dropping a group must not enlarge the others.
        num_tokens = sum(len(rollout.completion.token_ids) for group in groups for rollout in group.rollouts)
        totals: defaultdict[str, float] = defaultdict(float)
        for micro_batch in split_by_tokens([len(p) + len(c) for p, c, _ in rows], self.config.micro_batch_tokens):
            prompts, completions, row_advantages = zip(*(rows[row] for row in micro_batch), strict=True)
            padded = pad_rollouts(prompts, completions, self.policy.tokenizer.pad_token_id, self.device)
            loss, shares = self.loss(padded, torch.tensor(row_advantages, device=self.device), num_tokens)
            self.manual_backward(loss)
            for name, share in shares.items():
                totals[name] += share.item()
        # The metrics are means over the tokens that were looked at; the loss keeps the weight that it trains with.
        num_seen = sum(len(completion) for _, completion, _ in rows)
        metrics = {name: value if name == "loss" else value * num_tokens / num_seen for name, value in totals.items()}
        if rows:
            metrics["grad_norm"] = take_optimizer_step(self, self.config.max_grad_norm)
        metrics["lr"] = advance_schedule(self)
        self.engine.sync_weights(self.model)
        return {f"train/{name}": value for name, value in metrics.items()}

    def loss(self, batch: RolloutBatch, advantages: Tensor, num_tokens: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the micro-batch's share of the step's loss, and of its metrics."""
        temperature = self.config.temperature
        logits = completion_logits(self.model, batch, temperature)
        logps = token_logps(logits, batch.completion_ids)
        ref_logps = None
        if self.config.beta > 0:
            with torch.no_grad():
                ref_logps = token_logps(completion_logits(self._reference[0], batch, temperature), batch.completion_ids)
        loss, metrics = policy_loss(
            logps,
            logps.detach(),  # one update per rollout: the policy that sampled is the policy that is trained
            advantages,
            batch.completion_mask,
            epsilon=self.config.epsilon,
            epsilon_high=self.config.epsilon_high,
            normalizer=num_tokens,
            ref_per_token_logps=ref_logps,
            beta=self.config.beta,
        )
        metrics["loss"] = loss.detach()
        metrics["entropy"] = (token_entropies(logits.detach()) * batch.completion_mask).sum() / num_tokens
        return loss, metrics

    def configure_optimizers(self) -> Any:
        """Returns optimiser and schedule."""
        optimizer = self._make_optimizer(self.model.parameters())
        return {"optimizer": optimizer, "lr_scheduler": self._make_scheduler(optimizer)}

    def on_fit_start(self) -> None:
        """Brings the reference policy to the policy's device."""
        if self._reference[0] is not None:
            self._reference[0].to(self.device).eval()
