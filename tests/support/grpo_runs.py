"""Short real runs of GRPO on toy questions: rewards that a random policy can increase, a Trainer, and its files."""

from __future__ import annotations

import csv
from contextlib import closing, nullcontext
from copy import deepcopy
from dataclasses import replace
from functools import partial

import lightning as L
import torch
from support.helpers import grpo_config, toy_question
from torch.optim import AdamW

from medssr.config.roots import AUTO
from medssr.engines.hf_engine import HFEngine
from medssr.grpo.ahead import StepAhead, samples_ahead
from medssr.grpo.methods import step_parts
from medssr.grpo.module import GRPOModule
from medssr.grpo.objective import Objective
from medssr.grpo.rollouts import RolloutCollector
from medssr.grpo.watch import RolloutWatch
from medssr.tracking.csv_logger import CSVMetrics
from medssr.training.checkpoints import starting_point
from medssr.training.optimizer_step import warmup_then_constant
from medssr.training.step_checkpoint import StepCheckpoint
from medssr.training.step_loader import PromptDataModule
from medssr.utils.instantiate import instantiate
from medssr.utils.stopping import catch_signals

QUESTIONS = [toy_question(number) for number in range(5)]


class EvenTokens:
    """The fraction of even tokens: a reward that a random policy can increase."""

    weight = 1.0

    def __call__(self, question, completion, choice):
        return sum(token % 2 == 0 for token in completion.token_ids) / len(completion.token_ids)


class Constant:
    weight = 1.0

    def __call__(self, question, completion, choice):
        return 0.5


class SignalFor:
    """EvenTokens for one question, 0 for the others."""

    weight = 1.0

    def __init__(self, question_id):
        self._question_id = question_id

    def __call__(self, question, completion, choice):
        return EvenTokens()(question, completion, choice) if question.id == self._question_id else 0.0


class SilentOn(EvenTokens):
    """EvenTokens, but None for completions that begin with one of the given tokens."""

    def __init__(self, first_tokens):
        self._first_tokens = first_tokens

    def __call__(self, question, completion, choice):
        if completion.token_ids[0] in self._first_tokens:
            return None
        return super().__call__(question, completion, choice)


class NoisyEngine(HFEngine):
    """An engine whose log-probs are off by a fixed amount."""

    shift = 0.0

    def generate(self, prompts, seeds, sampling):
        groups = super().generate(prompts, seeds, sampling)
        return [[replace(item, logps=[logp + self.shift for logp in item.logps]) for item in row] for row in groups]


def make_module(policy, config, reward, optimizer, engine=HFEngine, teacher=None, hints=None, reward_names=None):
    """Makes a module with one reward, or with several by name."""
    reference = deepcopy(policy.model).requires_grad_(False) if config.beta > 0 else None
    rollouts = RolloutCollector(
        policy,
        engine=engine(policy, max_batch_size=64),
        rewards=reward if isinstance(reward, dict) else {"reward": reward},
        config=config,
        seed=42,
        stage="toy",
        source="toy.jsonl",
        reward_names=reward_names or {},
    )
    if samples_ahead(rollouts.engine):
        rollouts = replace(rollouts, ahead=StepAhead(rollouts))
    objective = Objective(
        policy.model,
        reference,
        instantiate(config.loss, "grpo.loss"),
        policy.tokenizer.pad_token_id,
        config,
        teacher,
    )
    return GRPOModule(
        rollouts,
        objective,
        config,
        optimizer,
        partial(warmup_then_constant, num_warmup_steps=2),
        step_parts(rollouts, objective, config, hints),
    )


def part_of(module, kind):
    """Returns the optional part of a kind that the steps of a module have; None if they have none."""
    return next((part for part in module.parts if isinstance(part, kind)), None)


def fit(
    policy,
    directory,
    config=None,
    reward=None,
    *,
    questions=QUESTIONS,
    optimizer=partial(AdamW, lr=1e-2),  # noqa: B008
    callbacks=(),
    every_num_steps=2,
    engine=HFEngine,
    module=None,
    precision="32-true",
    further=None,
):
    """Trains the policy, resuming from a checkpoint in the folder if there is one, and returns its module."""
    config = config or grpo_config()
    module = module or make_module(policy, config, reward or EvenTokens(), optimizer, engine)
    trainer = L.Trainer(
        accelerator="cpu",
        precision=precision,
        max_epochs=1,
        log_every_n_steps=1,
        logger=CSVMetrics(str(directory)),
        callbacks=[RolloutWatch(module.rollouts.rewards), *callbacks, StepCheckpoint(directory, every_num_steps)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=str(directory),
    )
    data = PromptDataModule(
        questions,
        42,
        "toy",
        config.num_steps,
        config.num_prompts_per_step,
        config.dynamic_sampling_rounds,
        further=further,
        has_spares=config.has_rests,
    )
    ahead = module.rollouts.ahead
    with nullcontext() if ahead is None else closing(ahead), catch_signals():
        trainer.fit(module, data, ckpt_path=starting_point(AUTO, directory), weights_only=True)
    return module


def weights(policy):
    return {name: value.clone() for name, value in policy.model.state_dict().items()}


def are_equal(before, after):
    return all(torch.equal(before[name], after[name]) for name in before)


def metrics(directory):
    """The rows of metrics.csv without the `time/` columns."""
    with (directory / "metrics.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [{name: value for name, value in row.items() if not name.startswith("time/")} for row in rows]
