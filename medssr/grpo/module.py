"""GRPO as a LightningModule: `training_step` and `update` are the algorithm."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from medssr.config import GRPOConfig, ScaleRewards
from medssr.config.arrangements import sharing_problem
from medssr.engines.truncation import truncation_warning
from medssr.errors import InputError
from medssr.grpo.advantages import group_advantages, is_scored, label_signal, step_rewards
from medssr.grpo.ahead import StepAhead
from medssr.grpo.balance import balance
from medssr.grpo.dynamic_sampling import indices_to_train, sample_groups
from medssr.grpo.group_scoring import GroupScoring, advantage_shifts, mark_distilled, visits_of, weigh_samples
from medssr.grpo.hints import Hints, check_hints, retry_with_hints
from medssr.grpo.kl import sequence_kls
from medssr.grpo.metrics import mfu_metrics, mismatch_metrics, optimizer_step_metrics, step_metrics
from medssr.grpo.minibatches import Minibatch, make_minibatches
from medssr.grpo.objective import LossStatistics, MicroBatch, Objective
from medssr.grpo.peers import with_other_views, with_teacher_answers, with_views
from medssr.grpo.rollouts import RolloutCollector, RolloutGroup, ScoredGroups, StepRollouts, make_samples, require_logps
from medssr.grpo.selection import Candidate, QuestionSelection
from medssr.grpo.step_selection import replace_resting, select_groups, selection_metrics
from medssr.models.sharding import is_sharded
from medssr.models.utilisation import Utilisation
from medssr.questions import Question
from medssr.rewards.faults import FaultWatch
from medssr.rewards.history import QuestionHistory
from medssr.rewards.scoring import traits_of
from medssr.training.joint_stop import agree_to_stop
from medssr.training.optimizer_step import SkippedSteps, add_gradient, advance_schedule, take_optimizer_step
from medssr.training.step_loader import StepBatch
from medssr.training.step_times import step_time_metrics
from medssr.training.trained_module import TrainedModule
from medssr.utils.instantiate import instantiate
from medssr.utils.processes import gather_objects

log = logging.getLogger(__name__)

Metrics = dict[str, float]
_NO_HINTS = Hints()


class GRPOModule(TrainedModule):
    """Group-relative policy optimisation (GRPO) of one stage.

    Args:
        rollouts: Samples completions of the step's questions and computes their rewards.
        ahead: Samples the completions of the next step while this one trains, if that is on.
        objective: Computes the loss with policy and reference policy.
        config: The algorithm's settings.
        optimizer: Creates the optimiser for the given parameters.
        scheduler: Creates the learning-rate schedule for the given optimiser.
        hints: The hints of questions.
        utilisation: Computes the utilisation of the devices; None where their speed is not known.

    Raises:
        InputError: When a reward needs another scaling of rewards, or answers of others than the policy.
    """

    def __init__(
        self,
        rollouts: RolloutCollector,
        ahead: StepAhead,
        objective: Objective,
        config: GRPOConfig,
        optimizer: Callable[..., torch.optim.Optimizer],
        scheduler: Callable[..., Any],
        hints: Hints = _NO_HINTS,
        utilisation: Utilisation | None = None,
    ) -> None:
        unscaled = [name for name, reward in rollouts.rewards.items() if traits_of(reward).needs_unscaled]
        if unscaled and config.scale_rewards is not ScaleRewards.none:
            raise InputError(
                f"grpo.scale_rewards: {config.scale_rewards.value}, but reward.{unscaled[0]} divides by "
                "deviations itself; take grpo.scale_rewards=none."
            )
        self._check_peers(rollouts, config)
        group_rewards = [name for name, reward in rollouts.rewards.items() if traits_of(reward).sees_groups]
        check_hints(hints, config.num_generations, group_rewards)
        skipped_steps = SkippedSteps(config.max_skipped_steps, "grpo.max_skipped_steps")
        super().__init__(objective.model, optimizer, scheduler, skipped_steps, rollouts.policy.load_whole)
        self.rollouts = rollouts
        self.ahead = ahead
        self.objective = objective  # no nn.Module, so the frozen reference is not in checkpoints
        self.average = objective.average  # a module, and so in checkpoints
        self.config = config
        self.hints = hints
        self.utilisation = utilisation
        self.times = rollouts.times
        self.fault_watch = FaultWatch(rollouts.rewards)
        self.history = QuestionHistory(rollouts.stage)
        self._candidates: list[Candidate] = []  # of the step, as are those that rest
        self._rested: list[str] = []
        self.selection: QuestionSelection | None = None
        if config.selection is not None:
            self.selection = instantiate(config.selection, "grpo.selection")
        self.last_step: StepRollouts | None = None  # read by callbacks
        self._has_warned_of_truncation = False
        traits = [traits_of(reward) for reward in rollouts.rewards.values()]
        self._needs_statistics = any(trait.needs_statistics for trait in traits)
        self._needs_peers = any(trait.needs_peers for trait in traits)
        # Whether rewards need a pass of the policy before the update.
        self._needs_pass = self._needs_statistics or any(trait.needs_answer_probabilities for trait in traits)

    def training_step(self, batch: StepBatch[Question], batch_idx: int) -> None:
        """Samples completions, computes rewards and advantages, and updates the policy."""
        self.times.start(self.device)
        batch = self.without_resting(batch)
        local_batch = batch.shard(self.global_rank, self.trainer.world_size)
        if self.config.has_permuted_view:
            local_batch = with_views(local_batch, self.rollouts.seed, self.rollouts.stage)
        self.ahead.begin(local_batch)
        scored = sample_groups(local_batch, partial(self.roll_out, batch.step))
        agree_to_stop()  # the last moment at which nothing of the step is in the weights
        scored = self.select(batch.step, scored)
        with self.times.part("sync"):
            self.rollouts.engine.release_memory()
        self.ahead.start(None if self.is_last_step(batch.step) else local_batch.following)

        advantages = self.advantages(scored)
        trained = indices_to_train(scored.has_signal.tolist(), len(local_batch.items))
        minibatches = make_minibatches(
            scored.select(trained),
            advantages[trained],
            self.objective.policy_loss,
            self.config,
            self.trainer.world_size,
        )
        if self.objective.policy_loss.is_global_mean:  # else a process averages over what it has rolled out
            minibatches = balance(minibatches, has_shared_prompts=self.objective.is_packed)
        with self.trace.update(batch.step, is_last=self.is_last_step(batch.step)):
            metrics = self.update(batch.step, minibatches)

        metrics |= self.describe(batch, scored, advantages)
        metrics |= step_time_metrics(gather_objects(self.times.stop()), metrics["train/num_tokens"])
        metrics |= mfu_metrics(self.utilisation, self.config.num_iterations, minibatches, metrics)
        self.log_step(batch.step, metrics)
        self.log("train/reward", metrics["train/reward"], logger=False, batch_size=len(batch.items))

    def without_resting(self, batch: StepBatch[Question]) -> StepBatch[Question]:
        """Returns the batch with other questions in place of those that rest, in this step and the one to come.

        The next step replaces its own once more, when this one's answers are known.
        """
        if self.selection is None:
            return batch
        batch, self._rested = replace_resting(batch, self.selection, self.history)
        if batch.following is None:
            return batch
        following, _ = replace_resting(batch.following, self.selection, self.history)
        return replace(batch, following=following)

    def roll_out(self, step: int, questions: Sequence[Question]) -> ScoredGroups:
        """Returns the completions of some questions with their rewards."""
        rollouts = self.rollouts
        group_scoring = GroupScoring(rollouts.rewards, rollouts.policy, self.history, rollouts.has_reward)
        with self.times.part("rollout"):
            groups = rollouts.collect(step, questions, self.ahead.of_step(step), group_scoring.add)
            groups = retry_with_hints(groups, rollouts, self.hints, step)
        if self._needs_peers:
            groups = self.with_peers(step, groups)
        samples = make_samples(groups)
        flat = [sample for group in samples for sample in group]
        if is_sharded(self.model) and (self._needs_pass or self.config.has_kl_in_reward):
            agree_to_stop()  # the passes of a sharded model are collective calls
        with self.times.part("reference"):
            statistics = self.objective.compute_statistics(flat) if self._needs_statistics else None
        with self.times.part("reward"):
            groups = group_scoring.results(groups, statistics, self.objective.policy_logps)
        weigh_samples(groups, samples)
        mark_distilled(groups, samples, self.objective.distillation)
        kls = None
        if self.config.has_kl_in_reward:
            with self.times.part("reference"):
                self.objective.compute_ref_and_old_logps(flat, has_old=not self._needs_statistics)
            old_logps = require_logps(sample.trained(sample.old_logps) for sample in flat)
            ref_logps = require_logps(sample.trained(sample.ref_logps) for sample in flat)
            kls = sequence_kls(old_logps, ref_logps, self.config.kl_estimator).view(len(groups), -1).cpu()
        rewards = step_rewards(groups, self.config, kls)
        is_shifted = (advantage_shifts(groups).masked_fill(~is_scored(rewards), 0.0) != 0).any(dim=1)
        return ScoredGroups(groups, samples, rewards, label_signal(groups, rewards, self.config) | is_shifted)

    def with_peers(self, step: int, groups: list[RolloutGroup]) -> list[RolloutGroup]:
        """Returns the groups with the answers of a teacher, of the other view of each question, or of both at once."""
        teacher, average = self.objective.teacher, self.average
        if teacher is not None and average is not None:
            agree_to_stop()  # the engine gets the teacher's weights in a collective call
            with self.times.part("rollout"):
                number = teacher.num_answers
                groups = with_teacher_answers(groups, self.rollouts, average, self.model, step, number)
        return with_other_views(groups) if self.config.has_permuted_view else groups

    def select(self, step: int, scored: ScoredGroups) -> ScoredGroups:
        """Returns the groups of this process with weight 0 for questions that the selection leaves out."""
        if self.selection is None:
            return scored
        groups, self._candidates = select_groups(self.selection, step, scored.groups, self.history)
        weigh_samples(groups, scored.samples)
        is_trained = torch.tensor([group.is_trained for group in groups])
        return replace(scored, groups=groups, has_signal=scored.has_signal & is_trained)

    def advantages(self, scored: ScoredGroups) -> Tensor:
        """Returns the advantages of this process's groups, `[P, G]`; 0 in groups without signal, but for shifts."""
        # Rewards are gathered because `scale_rewards=batch` normalises by the deviation of the whole step.
        rewards_by_rank = gather_objects(scored.rewards)
        advantages = group_advantages(torch.cat(rewards_by_rank), self.config.scale_rewards)
        local = advantages.split([len(rewards) for rewards in rewards_by_rank])[self.global_rank]
        compared = torch.where(label_signal(scored.groups, scored.rewards, self.config).unsqueeze(1), local, 0.0)
        return compared + advantage_shifts(scored.groups).masked_fill(~is_scored(scored.rewards), 0.0)

    def update(self, step: int, minibatches: list[Minibatch]) -> Metrics:
        """Takes the optimiser steps of a training step, and returns the means of their metrics."""
        if not self.config.has_kl_in_reward:  # else `roll_out` has computed them
            samples = [sample for minibatch in minibatches for sample in minibatch.samples]
            # The first of several optimiser steps changes the weights that sampled.
            has_old = self.config.num_iterations * len(minibatches) > 1 and not self._needs_statistics
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
        self.ahead.finish()  # so that no completions come from two versions of the weights
        with self.times.part("sync"):
            sync_gap = self.rollouts.engine.sync_weights(self.model)
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
        loss = sum(part.metrics["loss"] for part in statistics)
        with self.times.part("optimizer"):
            norm = take_optimizer_step(self, self.config.max_grad_norm, loss)
        if norm is None:
            suspects = [sample.question_id for part in statistics if not part.is_finite for sample in part.samples]
            everyone = [sample.question_id for sample in minibatch.samples]
            # Gathered, because the loss may not be finite on another process.
            faulty_ids, all_ids = (
                [name for part in gather_objects(ids) for name in part] for ids in (suspects, everyone)
            )
            self.skipped_steps.skipped(step, faulty_ids or all_ids)
            return None
        self.skipped_steps.took()
        if self.objective.teacher is not None and self.average is not None:
            self.average.update(self.model, self.objective.teacher.decay_at(step, self.config.num_steps))
        return optimizer_step_metrics(minibatch, statistics) | {"grad_norm": norm}

    def describe(self, batch: StepBatch[Question], scored: ScoredGroups, advantages: Tensor) -> Metrics:
        """Returns the metrics of the rollouts of all processes, and keeps the rollouts for callbacks."""
        # Nobody needs the log-probs of other processes, which are most of a rollout's size.
        described = [group.without_logps() for group in scored.groups]
        groups = [group for local in gather_objects(described) for group in local]
        self._watch_rewards(batch.step, groups)
        self.history.add(visits_of(batch.step, groups))
        rewards, has_signal, advantages = (
            torch.cat(gather_objects(local)) for local in (scored.rewards, scored.has_signal, advantages)
        )
        if not self._has_warned_of_truncation and self.trainer.is_global_zero:
            self._warn_of_truncation(batch.step, groups)
        self.last_step = StepRollouts(batch.step, groups, rewards.tolist(), advantages.tolist())
        rate = len(groups) / (self.config.num_views * len(batch.items)) - 1
        metrics = step_metrics(groups, rewards, has_signal, advantages) | {"train/dynamic_sampling_rate": rate}
        if self.selection is None:
            return metrics
        self.selection.record(self._candidates, self._rested)
        rested_share = len(self._rested) / len(batch.items)
        return metrics | selection_metrics(groups) | {"train/rested_share": rested_share}

    def _watch_rewards(self, step: int, groups: Sequence[RolloutGroup]) -> None:
        """Logs faults of rewards, and raises InputError on every process where a reward scores nothing."""
        self.fault_watch.update(
            step,
            [group.question.id for group in groups for _ in group.rollouts],
            [rollout.results for group in groups for rollout in group.rollouts],
            is_last_step=step + 1 == self.trainer.num_training_batches,
            logs=self.trainer.is_global_zero,
        )

    def _warn_of_truncation(self, step: int, groups: Sequence[RolloutGroup]) -> None:
        """Logs a warning at the first step in which most completions are truncated."""
        flags = [rollout.completion.is_truncated for group in groups for rollout in group.rollouts]
        message = truncation_warning(sum(flags), len(flags), f"training step {step}", "grpo.max_new_tokens")
        if message is not None:
            self._has_warned_of_truncation = True
            log.warning(message)

    def setup(self, stage: str) -> None:
        """Checks that processes can share the questions of a step, and the passes that rewards need.

        Raises:
            InputError: When they cannot.
        """
        problem = sharing_problem(self.config, self.trainer.world_size)  # known only here where all devices are used
        if problem is not None:
            raise InputError(problem)
        if self._needs_pass and self.config.dynamic_sampling_rounds > 0 and self.device_mesh is not None:
            raise InputError(
                "grpo.dynamic_sampling_rounds: processes sample in different numbers of rounds, so trainer=fsdp2 "
                "cannot compute between them what a reward needs of the policy; take 0 rounds, or trainer=ddp."
            )

    @staticmethod
    def _check_peers(rollouts: RolloutCollector, config: GRPOConfig) -> None:
        """Checks that a reward has the answers of others that it compares with, and that a teacher is asked."""
        uses_teacher = config.distillation is not None or (config.beta > 0 and not config.keeps_reference)
        reader = next((name for name, reward in rollouts.rewards.items() if traits_of(reward).needs_peers), None)
        has_peers = config.has_permuted_view or config.has_average
        if reader is not None and not has_peers:
            raise InputError(
                f"reward.{reader}: compares with answers of others than the policy, and there are none; take "
                "grpo.has_permuted_view=true, or a teacher, such as grpo/teacher=moving_average."
            )
        is_asked = reader is not None and config.has_average
        if config.teacher is not None and not uses_teacher and not is_asked:
            raise InputError(
                "grpo.teacher: nothing uses it; take grpo/distillation=gated, or with grpo/teacher=moving_average a "
                "reward that asks it, such as reward=peer_vote, or let the KL be to it (grpo.teacher.anchors_kl=true "
                "and grpo.beta above 0)."
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what is known of rewards and questions, and the completions that are sampled already."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["sampled_ahead"] = self.ahead.state_dict()
        checkpoint["reward_faults"] = self.fault_watch.state_dict()
        checkpoint["question_history"] = self.history.state_dict()
        if self.selection is not None:
            checkpoint["question_selection"] = self._selection_identity | {"state": self.selection.state_dict()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores what `on_save_checkpoint` added; a checkpoint of supervised training has none of it."""
        super().on_load_checkpoint(checkpoint)
        if "reward_faults" in checkpoint:
            self.fault_watch.load_state_dict(checkpoint["reward_faults"])
        if "question_history" in checkpoint:
            self.history.load_state_dict(checkpoint["question_history"])
        saved = checkpoint.get("question_selection")
        # Another stage asked other questions, and another selection keeps other things.
        if self.selection is not None and saved is not None and self._selection_identity.items() <= saved.items():
            self.selection.load_state_dict(saved["state"])
        if "sampled_ahead" in checkpoint:
            self.ahead.load(checkpoint["sampled_ahead"])

    @property
    def _selection_identity(self) -> dict[str, str]:
        return {"stage": self.rollouts.stage, "target": self.config.selection["_target_"]}

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
