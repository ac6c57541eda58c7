"""Runs the same GRPO training with medssr and with TRL; the scripts that compare the two import it.

TRL is an extra: `pip install --editable '.[trl]'`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
import lightning as L
from datasets import Dataset
from lightning.pytorch.callbacks import Callback
from omegaconf import OmegaConf
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from medssr.answers import extract_choice
from medssr.config import TrainConfig, register
from medssr.config.catalog import CONF_DIR
from medssr.engines.types import Completion
from medssr.grpo.module import GRPOModule
from medssr.grpo.objective import Objective
from medssr.grpo.rollouts import RolloutCollector
from medssr.models.device import prepared_process
from medssr.models.policy import Policy, load_policy
from medssr.models.prompts import render_prompt
from medssr.questions import Question
from medssr.rewards.scoring import Reward
from medssr.tracking.csv_logger import CSVMetrics
from medssr.training.step_loader import PromptDataModule, StepLoader
from medssr.utils.instantiate import instantiate

# These settings turn off what TRL lacks: the dual clip, truncated importance sampling and shuffled options. TRL also
# multiplies the KL by the ratio by default; `use_bias_correction_kl=False` below turns that off.
SAME_ALGORITHM = ("grpo.loss.dual_clip=null", "grpo.tis_cap=null", "grpo.shuffle_options=false")
# Threads and log levels of libraries, until the program ends.
_prepared = ExitStack()


@dataclass(slots=True)
class StepTimes:
    """The durations of the steps of a run.

    Attributes:
        seconds: Wall-clock time of each step, from the end of the previous step (or the start of training) to its end.
        cpu_seconds: CPU time of the process over the same intervals, summed over its threads.
    """

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    _last: tuple[float, float] = (0.0, 0.0)

    def start(self) -> None:
        """Starts the clock."""
        self._last = (time.perf_counter(), time.process_time())

    def end_step(self) -> None:
        """Records a step that has ended, and starts the next one."""
        now = (time.perf_counter(), time.process_time())
        self.seconds.append(now[0] - self._last[0])
        self.cpu_seconds.append(now[1] - self._last[1])
        self._last = now


def train_config(*overrides: str) -> TrainConfig:
    """Returns the configuration of medssr-train with the features that TRL lacks turned off."""
    register("train")
    with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        composed = hydra.compose("train", ["paths.root_dir=/tmp", "data.path=none", *SAME_ALGORITHM, *overrides])
    config = OmegaConf.to_object(composed)
    assert isinstance(config, TrainConfig)
    return config


def make_policy(config: TrainConfig) -> Policy:
    """Returns the policy before training."""
    _prepared.enter_context(prepared_process(config.extras, config.seed))
    for name in ("lightning", "lightning.pytorch.utilities.rank_zero", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return load_policy(config.model)


def remove_end_token(policy: Policy) -> None:
    """Makes a byte that the policy has never seen its end token, so that no completion ends early."""
    policy.tokenizer.chat_template = None  # the token that ends a turn in it ends completions, too
    (unseen_id,) = policy.tokenizer.convert_tokens_to_ids(["ÿ"])
    policy.tokenizer.eos_token = policy.tokenizer.convert_ids_to_tokens(unseen_id)
    policy.model.generation_config.eos_token_id = unseen_id
    policy.model.config.eos_token_id = unseen_id
    assert policy.eos_token_ids == {unseen_id}


def train_with_medssr(
    policy: Policy,
    questions: Sequence[Question],
    rewards: dict[str, Reward],
    config: TrainConfig,
    directory: Path,
    prepare: Callable[[GRPOModule], None] = lambda module: None,
) -> StepTimes:
    """Trains the policy with medssr, writes `metrics.csv` to the directory, and returns the step times."""
    times = StepTimes()

    class Clock(Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            times.start()

        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            times.end_step()

    reference = deepcopy(policy.model).requires_grad_(False) if config.grpo.beta > 0 else None
    rollouts = RolloutCollector(
        policy,
        engine=instantiate(config.rollout, "rollout", policy=policy),
        rewards=rewards,
        config=config.grpo,
        seed=config.seed,
        stage=config.stage,
        source="the built-in questions",
    )
    module = GRPOModule(
        rollouts,
        Objective(
            policy.model,
            reference,
            instantiate(config.grpo.loss, "grpo.loss"),
            policy.tokenizer.pad_token_id,
            config.grpo,
        ),
        config.grpo,
        optimizer=instantiate(config.optim.optimizer, "optim.optimizer"),
        scheduler=instantiate(config.optim.scheduler, "optim.scheduler"),
    )
    prepare(module)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=CSVMetrics(str(directory)),
        callbacks=[Clock()],
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=str(directory),
    )
    module.train()
    grpo = config.grpo
    data = PromptDataModule(
        questions,
        seed=config.seed,
        stage=config.stage,
        num_steps=grpo.num_steps,
        num_prompts_per_step=grpo.num_prompts_per_step,
        num_rounds=grpo.dynamic_sampling_rounds,
        has_shuffled_options=grpo.shuffle_options,
    )
    trainer.fit(module, data)
    return times


def train_with_trl(
    policy: Policy,
    questions: Sequence[Question],
    rewards: dict[str, Reward],
    config: TrainConfig,
    directory: Path,
    rows_per_forward: int,
    prepare: Callable[[GRPOTrainer], None] = lambda trainer: None,
) -> tuple[StepTimes, list[dict[str, float]]]:
    """Trains the policy with TRL on the same questions in the same order.

    Args:
        policy: The policy; its model is trained in place.
        questions: Labelled questions.
        rewards: medssr's rewards by name.
        config: The configuration of medssr-train, which is translated into TRL's arguments.
        directory: TRL's output directory.
        rows_per_forward: Completions in one forward and backward pass; it divides the completions of a step.
        prepare: A function that is called with the trainer before training starts.

    Returns:
        The step times, and the metrics that TRL logged for each step.
    """
    grpo, optimizer = config.grpo, config.optim.optimizer
    times = StepTimes()

    class Clock(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            times.start()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.end_step()

    end_ids = policy.eos_token_ids

    def weighted_sums(
        completion_ids: list[list[int]], completions: list[str], question: list[int], **_: Any
    ) -> list[float]:
        values = []
        for token_ids, text, index in zip(completion_ids, completions, question, strict=True):
            completion = Completion(token_ids, [], text, is_truncated=token_ids[-1] not in end_ids)
            choice = extract_choice(text, questions[index].options)
            parts = (reward.weight * reward(questions[index], completion, choice) for reward in rewards.values())
            values.append(sum(parts))
        return values

    loader = StepLoader(range(len(questions)), config.seed, config.stage, grpo.num_steps, grpo.num_prompts_per_step)
    order = [index for batch in loader for index in batch.items]
    prompts = [render_prompt(questions[index], policy.prompt_template, policy.tokenizer) for index in order]
    passes = grpo.num_prompts_per_step * grpo.num_generations // rows_per_forward
    trainer = GRPOTrainer(
        model=policy.model,
        reward_funcs=weighted_sums,
        processing_class=policy.tokenizer,
        train_dataset=Dataset.from_dict({"prompt": prompts, "question": order}),
        callbacks=[Clock()],
        args=GRPOConfig(
            output_dir=str(directory),
            seed=config.seed,
            max_steps=grpo.num_steps,
            per_device_train_batch_size=rows_per_forward,
            gradient_accumulation_steps=passes,
            steps_per_generation=passes,
            num_generations=grpo.num_generations,
            max_completion_length=grpo.max_new_tokens,
            temperature=grpo.temperature,
            loss_type=grpo.loss["_target_"].rpartition(".")[2].lower(),
            num_iterations=grpo.num_iterations,
            epsilon=grpo.loss["epsilon"],
            epsilon_high=grpo.loss["epsilon_high"],
            beta=grpo.beta,
            use_bias_correction_kl=False,
            scale_rewards=grpo.scale_rewards.value,
            learning_rate=optimizer["lr"],
            weight_decay=optimizer["weight_decay"],
            max_grad_norm=grpo.max_grad_norm,
            lr_scheduler_type="constant_with_warmup",
            warmup_steps=config.optim.scheduler["num_warmup_steps"],
            shuffle_dataset=False,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            report_to="none",
            logging_steps=1,
            save_strategy="no",
            disable_tqdm=True,
        ),
    )
    # TRL tokenises text prompts itself; a tokenizer that puts a begin token in front would add a second one.
    assert trainer.processing_class("a")["input_ids"][0] != trainer.processing_class.bos_token_id
    prepare(trainer)
    trainer.train()
    return times, [row for row in trainer.state.log_history if "reward" in row]
