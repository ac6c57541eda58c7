"""Builds one stage of GRPO from its configuration and runs it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

from medssr.config import Dtype, TrainConfig
from medssr.config.trainer import shards_models
from medssr.engines.types import RolloutEngine
from medssr.errors import InputError
from medssr.grpo.ahead import StepAhead, samples_ahead
from medssr.grpo.heldout import HeldoutCallback
from medssr.grpo.hints import Hints, HintSource
from medssr.grpo.methods import step_parts
from medssr.grpo.module import GRPOModule
from medssr.grpo.objective import Objective
from medssr.grpo.peers import with_permuted_ids
from medssr.grpo.rollouts import RolloutCollector
from medssr.grpo.teachers import OtherModel
from medssr.grpo.watch import RolloutWatch
from medssr.models.device import check_device, gpu_name
from medssr.models.loading import check_folder, load_model, torch_dtype
from medssr.models.lora import keep_initial_adapters
from medssr.models.policy import Policy, load_reference, load_tokenizer, load_trainable_policy
from medssr.questions import Question
from medssr.rewards.isolation import open_rewards
from medssr.rewards.labels import require_labels
from medssr.rewards.scoring import Reward
from medssr.training.fit import fit
from medssr.training.forecast import Forecast, forecast, utilisation_of
from medssr.training.question_sources import QuestionSource, reward_names
from medssr.training.seen_time import SeenTime
from medssr.training.step_loader import PromptDataModule
from medssr.utils.files import sync_folder
from medssr.utils.folder_hashes import HASHES_FILE
from medssr.utils.instantiate import instantiate
from medssr.utils.processes import is_main_process


def run_stage(
    config: TrainConfig,
    sources: Mapping[str, QuestionSource],
    heldout: list[Question],
    checkpoint: Path | None,
    directory: Path,
) -> dict[str, Any]:
    """Trains a stage in a prepared process, writes `model/`, and returns the counts for the manifest.

    Args:
        config: The configuration of the stage.
        sources: The sources of the training questions by name, as `read_sources` returns them.
        heldout: The held-out questions that the policy is evaluated on during training.
        checkpoint: The checkpoint to resume from; None for a fresh start.
        directory: The artefact's folder.

    Raises:
        InputError: When model, engine or a reward cannot be created, or a prompt does not fit the context.
    """
    check_device(config.trainer)
    hints = _hints(config, sources)
    policy = load_trainable_policy(config.model, config.lora, config.seed, is_sharded=shards_models(config.trainer))
    questions = [question for source in sources.values() for question in source.questions]
    num_new_tokens = config.grpo.max_new_tokens + _num_shuffling_tokens(questions, config)
    _check_prompts(policy, sources, hints, num_new_tokens)
    with (
        open_rewards(config.reward, config.grpo.reward_timeout_s, config.grpo.num_reward_workers) as rewards,
        closing(instantiate(config.rollout, "rollout", policy=policy)) as engine,
        ExitStack() as stack,
    ):
        for source in sources.values():
            require_labels({name: rewards[name] for name in source.rewards}, source.questions, source.path)
        engine.reserve(lambda: _longest_prompt(policy, sources, hints, num_new_tokens) + num_new_tokens)
        rollouts = _collector(config, sources, policy, engine, rewards)
        if rollouts.ahead is not None:
            stack.enter_context(closing(rollouts.ahead))
        module = _module(config, policy, rollouts, hints)
        evaluation = None if config.probe is None else HeldoutCallback(rollouts, heldout, config.probe, directory)
        callbacks: list[Any] = [RolloutWatch(rewards), *([] if evaluation is None else [evaluation])]
        expected = forecast(config, config.grpo, gpu_name())
        if isinstance(expected, Forecast):
            callbacks.append(SeenTime(expected))
        num_steps = fit(config, module, _data(config, sources), directory, checkpoint, config.grpo.num_steps, callbacks)
        counts: dict[str, Any] = {"num_questions": len(questions), "num_steps": num_steps}
        best_model = None
        if evaluation is not None:
            counts["probe"] = evaluation.finish(module.trainer)
            best_model = evaluation.best_model()
    return counts | _save_model(policy, best_model, directory / "model")


def _check_prompts(policy: Policy, sources: Mapping[str, QuestionSource], hints: Hints, num_new_tokens: int) -> None:
    """Checks that all prompts fit the context before training, so that none fails at step 900."""
    for source in sources.values():
        policy.check_prompts(source.questions, num_new_tokens, source.path)
        hinted = [hints.with_hint(question) for question in source.questions if question.id in hints.texts]
        policy.check_prompts(hinted, num_new_tokens, f"{source.path}, with grpo.hints")


def _collector(
    config: TrainConfig,
    sources: Mapping[str, QuestionSource],
    policy: Policy,
    engine: RolloutEngine,
    rewards: Mapping[str, Reward],
) -> RolloutCollector:
    """Returns what samples and scores completions, one step ahead if the engine is to."""
    rollouts = RolloutCollector(
        policy,
        engine=engine,
        rewards=rewards,
        config=config.grpo,
        seed=config.seed,
        stage=config.stage,
        source=config.data.path,
        reward_names=with_permuted_ids(reward_names(sources)),
    )
    return replace(rollouts, ahead=StepAhead(rollouts)) if samples_ahead(engine) else rollouts


def _data(config: TrainConfig, sources: Mapping[str, QuestionSource]) -> PromptDataModule:
    """Returns what provides the questions of each step."""
    return PromptDataModule(
        sources[""].questions,
        seed=config.seed,
        stage=config.stage,
        num_steps=config.grpo.num_steps,
        num_prompts_per_step=config.grpo.num_prompts_per_step,
        num_rounds=config.grpo.dynamic_sampling_rounds,
        has_shuffled_options=config.grpo.shuffle_options,
        further={
            name: (source.questions, source.num_prompts)
            for name, source in sources.items()
            if source.num_prompts is not None
        },
        has_spares=config.grpo.has_rests,
    )


def _save_model(policy: Policy, best_model: Path | None, folder: Path) -> dict[str, Any]:
    """Writes the best model, or the last where none is kept; returns what merging adapters lost, for the manifest."""
    if best_model is None:
        share = policy.save(folder)
        return {} if share is None else {"merged_kept_share": share}
    if is_main_process():
        copytree(best_model, folder, ignore=ignore_patterns(HASHES_FILE), dirs_exist_ok=True)
        sync_folder(folder)
    return {}


def _module(config: TrainConfig, policy: Policy, rollouts: RolloutCollector, hints: Hints) -> GRPOModule:
    """Returns the algorithm with its loss, optimiser and schedule."""
    objective = Objective(
        policy.model,
        _reference(policy, config),
        instantiate(config.grpo.loss, "grpo.loss"),
        policy.tokenizer.pad_token_id,
        config.grpo,
        _teacher_model(policy, config),
    )
    return GRPOModule(
        rollouts,
        objective,
        config.grpo,
        optimizer=instantiate(config.optim.optimizer, "optim.optimizer"),
        scheduler=instantiate(config.optim.scheduler, "optim.scheduler"),
        parts=step_parts(rollouts, objective, config.grpo, None if config.grpo.hints is None else hints),
        utilisation=utilisation_of(config, gpu_name()),
    )


def _reference(policy: Policy, config: TrainConfig) -> Any | None:
    """Returns the reference of the KL, the policy at the start of the stage; None if there is none.

    It is a frozen model, or the policy's if it has adapters: `initial_adapters` computes with it.
    """
    if not config.grpo.keeps_reference:
        return None
    if config.lora is not None:
        if config.model.adapter_path is not None:  # else training starts without adapters
            keep_initial_adapters(policy.model)
        return policy.model
    return load_reference(config.model, is_empty=policy.load_whole is not None)


def _teacher_model(policy: Policy, config: TrainConfig) -> Any | None:
    """Returns the model of a teacher that is one of its own; None if there is none.

    Raises:
        InputError: When it has another vocabulary than the policy, or cannot be loaded.
    """
    if config.grpo.teacher is None or config.grpo.has_average:
        return None
    teacher: OtherModel = instantiate(config.grpo.teacher, "grpo.teacher")
    teacher_config = replace(
        config.model, path=teacher.path, revision=None, dtype=Dtype(teacher.dtype), adapter_path=None
    )
    check_folder(teacher_config)
    model = load_model(teacher_config, torch_dtype(teacher_config.dtype))
    vocabulary = load_tokenizer(teacher_config).get_vocab()
    sizes = [each.get_input_embeddings().weight.shape[0] for each in (model, policy.model)]
    if vocabulary != policy.tokenizer.get_vocab() or sizes[0] != sizes[1]:
        raise InputError(
            f"grpo.teacher.path: {teacher.path} has another vocabulary than {config.model.path} ({len(vocabulary):,} "
            f"tokens and {sizes[0]:,} embeddings, against {len(policy.tokenizer):,} and {sizes[1]:,}), so their "
            "distributions cannot be compared; take a teacher of the policy's family."
        )
    return model.requires_grad_(False)


def _hints(config: TrainConfig, sources: Mapping[str, QuestionSource]) -> Hints:
    """Returns the hints of the stage's questions; none where there are to be none."""
    if config.grpo.hints is None:
        return Hints()
    source: HintSource = instantiate(config.grpo.hints, "grpo.hints")
    return source.hints([question for each in sources.values() for question in each.questions])


def _longest_prompt(policy: Policy, sources: Mapping[str, QuestionSource], hints: Hints, num_new_tokens: int) -> int:
    """Returns the number of tokens of the longest prompt of all sources, with its hint if it has one."""

    def asked(question: Question) -> Question:
        return hints.with_hint(question) if question.id in hints.texts else question

    return max(
        policy.longest_prompt([asked(question) for question in source.questions], num_new_tokens, source.path)
        for source in sources.values()
    )


def _num_shuffling_tokens(questions: list[Question], config: TrainConfig) -> int:
    """Returns an upper bound on the tokens that another order of options adds to a prompt: one line end per option."""
    has_other_orders = config.grpo.shuffle_options or config.grpo.has_permuted_view
    return max(len(question.options) for question in questions) if has_other_orders else 0
