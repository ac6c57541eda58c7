"""GRPO as a LightningModule: `training_step` and `update` are the algorithm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from medssr.answers import Choice
from medssr.config import GRPOConfig
from medssr.config.arrangements import sharing_problem
from medssr.engines.types import Completion
from medssr.errors import InputError
from medssr.grpo.advantages import group_advantages, has_signal, step_rewards, trained_advantages
from medssr.grpo.balance import balance
from medssr.grpo.dynamic_sampling import indices_to_train, with_further_groups
from medssr.grpo.kl import sequence_kls
from medssr.grpo.metrics import mfu_metrics, mismatch_metrics, optimizer_step_metrics, step_metrics
from medssr.grpo.minibatches import Minibatch, make_minibatches
from medssr.grpo.objective import LossStatistics, MicroBatch, Objective
from medssr.grpo.parts import StepPart
from medssr.grpo.rollouts import RolloutCollector, Sample, ScoredGroups, StepRollouts, make_samples, require_logps
from medssr.models.sharding import is_sharded
from medssr.models.utilisation import Utilisation
from medssr.questions import Question
from medssr.tracking.step_times import step_time_metrics
from medssr.training.joint_stop import agree_to_stop
from medssr.training.optimizer_step import SkippedSteps, add_gradient, advance_schedule, take_optimizer_step
from medssr.training.step_loader import StepBatch
from medssr.training.trained_module import TrainedModule
from medssr.utils.processes import gather_objects

Metrics = dict[str, float]


class GRPOModule(TrainedModule):
    """Group-relative policy optimisation (GRPO) of one stage.

    Args:
        rollouts: Samples completions of the step's questions and computes their rewards.
        objective: Computes the loss with policy and reference policy.
        config: The algorithm's settings.
        optimizer: Creates the optimiser for the given parameters.
        scheduler: Creates the learning-rate schedule for the given optimiser.
        parts: The optional parts of a step (`methods.step_parts`), in the order in which they act.
        utilisation: Computes the utilisation of the devices; None where their speed is not known.
    """

    def __init__(
        self,
        rollouts: RolloutCollector,
        objective: Objective,
        config: GRPOConfig,
        optimizer: Callable[..., torch.optim.Optimizer],
        scheduler: Callable[..., Any],
        parts: Sequence[StepPart] = (),
        utilisation: Utilisation | None = None,
    ) -> None:
        skipped_steps = SkippedSteps(config.max_skipped_steps, "grpo.max_skipped_steps")
        super().__init__(objective.model, optimizer, scheduler, skipped_steps, rollouts.policy.load_whole)
        self.rollouts = rollouts
        self.objective = objective  # no nn.Module, so the frozen reference is not in checkpoints
        self.average = objective.average  # a module, and so in checkpoints
        self.config = config
        self.parts = list(parts)
        self.utilisation = utilisation
        self.times = rollouts.times
        self.last_step: StepRollouts | None = None  # read by callbacks

    def training_step(self, batch: StepBatch[Question], batch_idx: int) -> None:
        """Samples completions, computes rewards and advantages, and updates the policy."""
        self.times.start(self.device)
        for part in self.parts:
            batch = part.choose(batch)
        scored = self.sample(batch)
        advantages = self.advantages(scored)
        minibatches = self.minibatches(scored, advantages, len(batch.items))
        with self.traced(batch.step):
            metrics = self.update(batch.step, minibatches)

        metrics |= self.describe(batch, scored, advantages)
        metrics |= step_time_metrics(gather_objects(self.times.stop()), metrics["train/num_tokens"])
        metrics |= mfu_metrics(self.utilisation, self.config.num_iterations, minibatches, metrics)
        self.log_step(batch.step, metrics)
        self.log("train/reward", metrics["train/reward"], logger=False, batch_size=len(batch.items))

    def sample(self, batch: StepBatch[Question]) -> ScoredGroups:
        """Returns the scored completions of this process's questions of a step."""
        local_batch = batch.shard(self.global_rank, self.trainer.world_size)
        for part in self.parts:
            local_batch = part.begin(local_batch)
        scored = self.roll_out(batch.step, local_batch.items)
        if local_batch.further_items:
            scored = with_further_groups(scored, local_batch, partial(self.roll_out, batch.step))
        if self.trainer.world_size > 1:
            agree_to_stop()  # the last moment at which nothing of the step is in the weights
        for part in self.parts:
            scored = part.select(batch.step, scored)
        self.rollouts.end_sampling(None if self.is_last_step(batch.step) else local_batch.following)
        return scored

    def roll_out(self, step: int, questions: Sequence[Question]) -> ScoredGroups:
        """Returns the completions of some questions with their rewards."""
        with self.times.part("rollout"):
            groups = self.rollouts.collect(step, questions, self._arrived)
        for part in self.parts:
            groups = part.complete(step, groups)
        samples = make_samples(groups)
        for part in self.parts:
            groups = part.score(groups, samples)
        rewards = step_rewards(groups, self.config, self.kls(samples) if self.config.has_kl_in_reward else None)
        return ScoredGroups(groups, samples, rewards, has_signal(groups, rewards, self.config))

    def _arrived(
        self, index: int, question: Question, completions: Sequence[Completion], choices: Sequence[Choice]
    ) -> None:
        for part in self.parts:
            part.arrived(index, question, completions, choices)

    def kls(self, samples: Sequence[Sequence[Sample]]) -> Tensor:
        """Returns the KL estimate of each completion, `[P, G]`, and sets the log-probs of both policies."""
        if is_sharded(self.model):
            agree_to_stop()  # the passes of a sharded model are collective calls
        flat = [sample for group in samples for sample in group]
        with self.times.part("reference"):
            self.objective.compute_ref_and_old_logps(flat, has_old=not self._has_old_logps)
        old_logps = require_logps(sample.trained(sample.old_logps) for sample in flat)
        ref_logps = require_logps(sample.trained(sample.ref_logps) for sample in flat)
        return sequence_kls(old_logps, ref_logps, self.config.kl_estimator).view(len(samples), -1).cpu()

    def advantages(self, scored: ScoredGroups) -> Tensor:
        """Returns the advantages of this process's groups, `[P, G]`."""
        # Rewards are gathered because `scale_rewards=batch` normalises by the deviation of the whole step.
        rewards_by_rank = gather_objects(scored.rewards)
        advantages = group_advantages(torch.cat(rewards_by_rank), self.config.scale_rewards)
        local = advantages.split([len(rewards) for rewards in rewards_by_rank])[self.global_rank]
        return trained_advantages(local, scored.groups, scored.rewards, self.config)

    def minibatches(self, scored: ScoredGroups, advantages: Tensor, num_questions: int) -> list[Minibatch]:
        """Returns the samples that this process trains, by optimiser steps.

        Args:
            scored: The groups that it has rolled out.
            advantages: `[P, G]`, those of their completions.
            num_questions: The number of questions of the step, of all processes.
        """
        num_processes, loss = self.trainer.world_size, self.objective.policy_loss
        num_groups = self.config.num_views * num_questions // num_processes
        if len(scored.groups) > num_groups:  # by dynamic sampling
            trained = indices_to_train(scored.has_signal.tolist(), num_groups)
            scored, advantages = scored.select(trained), advantages[trained]
        minibatches = make_minibatches(scored, advantages, loss, self.config, num_processes)
        if num_processes > 1 and loss.is_global_mean:  # else a process averages over what it has rolled out
            minibatches = balance(minibatches, has_shared_prompts=self.objective.is_packed)
        return minibatches

    def update(self, step: int, minibatches: list[Minibatch]) -> Metrics:
        """Takes the optimiser steps of a training step, and returns the means of their metrics."""
        if not self.config.has_kl_in_reward:  # else `kls` has computed them
            samples = [sample for minibatch in minibatches for sample in minibatch.samples]
            # The first of several optimiser steps changes the weights that sampled.
            has_old = self.config.num_iterations * len(minibatches) > 1 and not self._has_old_logps
            with self.times.part("reference"):
                self.objective.compute_ref_and_old_logps(samples, has_old=has_old)

        optimizer_steps: list[Metrics | None] = []
        first_pass: list[LossStatistics] = []
        for iteration in range(self.config.num_iterations):
            for minibatch in minibatches:
                statistics = [self.accumulate(part) for part in self.objective.micro_batches(minibatch)]
                if statistics:
                    optimizer_steps.append(self.take_step(step, minibatch, statistics))
                if iteration == 0:
                    first_pass += statistics

        taken = [metrics for metrics in optimizer_steps if metrics is not None]
        metrics = {name: fmean(row[name] for row in taken) for name in taken[0]} if taken else {}
        metrics["skipped_steps"] = len(optimizer_steps) - len(taken)
        metrics |= mismatch_metrics(first_pass, self.config.tis_cap)
        metrics["lr"] = advance_schedule(self)
        sync_gap = self.rollouts.sync_weights(self.model)
        if sync_gap is not None:
            metrics["sync_logp_gap"] = sync_gap
        return {f"train/{name}": value for name, value in metrics.items()}

    def accumulate(self, micro_batch: MicroBatch) -> LossStatistics:
        """Adds the gradient of a micro-batch's loss to the gradient of the optimiser step."""
        with self.times.part("forward"):
            loss, statistics = self.objective.loss(micro_batch)
        with self.times.part("backward"):
            add_gradient(self, loss, is_last=micro_batch.is_last)
        return statistics

    def take_step(self, step: int, minibatch: Minibatch, statistics: list[LossStatistics]) -> Metrics | None:
        """Takes an optimiser step with the accumulated gradient, and returns its metrics; None if it was skipped."""
        loss = sum(micro_batch.metrics["loss"] for micro_batch in statistics)
        with self.times.part("optimizer"):
            norm = take_optimizer_step(self, self.config.max_grad_norm, loss)
        if norm is None:
            faulty = [micro_batch for micro_batch in statistics if not micro_batch.is_finite]
            suspects = [sample.question_id for micro_batch in faulty for sample in micro_batch.samples]
            everyone = [sample.question_id for sample in minibatch.samples]
            # Gathered, because the loss may not be finite on another process.
            faulty_ids, all_ids = (
                [name for names in gather_objects(ids) for name in names] for ids in (suspects, everyone)
            )
            self.skipped_steps.skipped(step, faulty_ids or all_ids)
            return None
        self.skipped_steps.took()
        for part in self.parts:
            part.stepped(step)
        return optimizer_step_metrics(minibatch, statistics) | {"grad_norm": norm}

    def describe(self, batch: StepBatch[Question], scored: ScoredGroups, advantages: Tensor) -> Metrics:
        """Returns the metrics of the rollouts of all processes, and keeps the rollouts for callbacks."""
        # Nobody needs the log-probs of other processes, which are most of a rollout's size.
        described = [group.without_logps() for group in scored.groups]
        groups = [group for local in gather_objects(described) for group in local]
        rewards, has_signal, advantages = (
            torch.cat(gather_objects(local)) for local in (scored.rewards, scored.has_signal, advantages)
        )
        self.last_step = StepRollouts(batch.step, groups, rewards.tolist(), advantages.tolist())
        rate = len(groups) / (self.config.num_views * len(batch.items)) - 1
        metrics = step_metrics(groups, rewards, has_signal, advantages) | {"train/dynamic_sampling_rate": rate}
        for part in self.parts:
            metrics |= part.record(batch.step, groups)
        return metrics

    @property
    def _has_old_logps(self) -> bool:
        """Whether scoring has computed the log-probs of the policy that the step begins with."""
        return any(part.sets_old_logps for part in self.parts)

    def setup(self, stage: str) -> None:
        """Checks that processes can share the questions of a step, and the passes that rewards need.

        Raises:
            InputError: When they cannot.
        """
        problem = sharing_problem(self.config, self.trainer.world_size)  # known only here where all devices are used
        if problem is not None:
            raise InputError(problem)
        needs_pass = any(part.needs_pass for part in self.parts)
        if needs_pass and self.config.dynamic_sampling_rounds > 0 and self.device_mesh is not None:
            raise InputError(
                "grpo.dynamic_sampling_rounds: processes sample in different numbers of rounds, so trainer=fsdp2 "
                "cannot compute between them what a reward needs of the policy; take 0 rounds, or trainer=ddp."
            )

    @property
    def _with_state(self) -> dict[str, Any]:
        """What has a state in checkpoints, by the key of it there."""
        parts: list[Any] = [*self.parts, *([] if self.rollouts.ahead is None else [self.rollouts.ahead])]
        return {part.checkpoint_key: part for part in parts if part.checkpoint_key is not None}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what optional parts know of questions, and the completions that are sampled already."""
        super().on_save_checkpoint(checkpoint)
        checkpoint |= {key: part.state_dict() for key, part in self._with_state.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores what `on_save_checkpoint` added, as far as the checkpoint, of another training perhaps, has it."""
        super().on_load_checkpoint(checkpoint)
        for key, part in self._with_state.items():
            if key in checkpoint:
                part.load_state_dict(checkpoint[key])

    def configure_model(self) -> None:
        """Shards the models if the strategy does; a teacher begins with the weights that are then there."""
        was_sharded = is_sharded(self.model)
        super().configure_model()
        if self.average is not None and is_sharded(self.model) and not was_sharded:
            self.average.restart(self.model)

    def frozen_models(self) -> list[Any]:
        """Returns the reference and the teacher, those that are models of their own."""
        others = (self.objective.reference, self.objective.teacher_model)
        return [model for model in others if model not in (None, self.model)]

    def on_train_start(self) -> None:
        """Gives the engine the weights that training starts or resumes with."""
        self.rollouts.engine.sync_weights(self.model)

    def on_fit_start(self) -> None:
        """Moves the reference policy and the teacher to the policy's device, if they are models of their own."""
        for model in self.frozen_models():
            model.to(self.device).eval()
