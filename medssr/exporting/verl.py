"""Translates questions and settings into the form of verl 0.9."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from medssr.config import KLEstimator, KLPlacement, ScaleRewards
from medssr.exporting.common import SettingsReader, read_adamw, require_enough_questions, write_parquet
from medssr.exporting.conversations import ExportedPrompts
from medssr.questions import Question

# verl has a dual clip in every clipped loss; above this the ratio, held within e^20, never comes.
_NO_DUAL_CLIP = 1e9
# By the class of the loss: verl's loss_mode and loss_agg_mode. BNPO, a mean over the tokens of each process, has no
# counterpart.
_LOSSES = {
    "medssr.grpo.losses.DAPO": ("vanilla", "token-mean"),
    "medssr.grpo.losses.GRPO": ("vanilla", "seq-mean-token-mean"),
    "medssr.grpo.losses.DrGRPO": ("vanilla", "seq-mean-token-sum-norm"),
    "medssr.grpo.losses.GSPO": ("gspo", "seq-mean-token-mean"),
    "medssr.grpo.losses.CISPO": ("cispo", "token-mean"),
    "medssr.grpo.losses.SAPO": ("sapo", "seq-mean-token-mean"),
}
_LOSS_PARAMETERS = {
    "epsilon": "clip_ratio_low",
    "epsilon_high": "clip_ratio_high",
    "dual_clip": "clip_ratio_c",
    "temperature_positive": "tau_pos",
    "temperature_negative": "tau_neg",
}
_ESTIMATORS = {KLEstimator.k1: "k1", KLEstimator.k2: "k2", KLEstimator.k3: "low_var_kl"}
_IS_SCALED = {ScaleRewards.group: True, ScaleRewards.none: False}


def write_verl_questions(path: Path, questions: Sequence[Question], prompts: ExportedPrompts) -> None:
    """Writes the questions as the parquet file that verl's RLHFDataset reads."""
    from datasets import Features, List, Value

    text = Value("string")
    features = Features(
        {
            "data_source": text,
            "prompt": List({"role": text, "content": text}),
            "ability": text,
            "reward_model": {"style": text, "ground_truth": text},
            "extra_info": {
                "index": Value("int64"),
                "question_id": text,
                # A list and not a map by letter: parquet would give every question the letters of all of them.
                "options": List(text),
                "entity": text,
                "is_rare": Value("bool"),
            },
        }
    )
    write_parquet(path, verl_rows(questions, prompts.conversations), features)


def verl_rows(questions: Iterable[Question], conversations: Iterable[list[dict[str, str]]]) -> Iterable[dict[str, Any]]:
    """Yields each question by verl's schema. Provenance, which may hold a hidden truth, stays behind."""
    for index, (question, conversation) in enumerate(zip(questions, conversations, strict=True)):
        yield {
            "data_source": question.source,
            "prompt": conversation,
            "ability": "medicine",
            "reward_model": {"style": "rule", "ground_truth": question.answer},
            "extra_info": {
                "index": index,
                "question_id": question.id,
                "options": list(question.options.values()),
                "entity": question.entity,
                "is_rare": question.is_rare,
            },
        }


def verl_settings(reader: SettingsReader, prompts: ExportedPrompts, stage: str, seed: int) -> dict[str, Any]:
    """Returns this project's settings by verl's names, to go on top of verl's `ppo_trainer`.

    Args:
        reader: The algorithm and the optimiser.
        prompts: Their number and length decide epochs and buffers.
        stage: Names the run.
        seed: Of verl's own generators.

    Raises:
        InputError: When verl has no counterpart of a setting.
    """
    num_questions = len(prompts.conversations)
    require_enough_questions(num_questions, reader)
    values = {
        "medssr": {"export_dir": "???", "eos_token_ids": prompts.eos_token_ids},
        "data": _data(reader, prompts.max_tokens, seed),
        "actor_rollout_ref": {
            "model": {
                "tokenizer_path": "${medssr.export_dir}/../tokenizer",
                "enable_gradient_checkpointing": True,
            },
            "actor": _actor(reader, prompts.max_tokens) | {"optim": _optimizer(reader)},
            "rollout": {
                "name": "vllm",
                "n": reader.value("grpo.num_generations"),
                "temperature": reader.value("grpo.temperature"),
                "top_p": 1.0,
                "top_k": -1,
                "seed": seed,
            },
        },
        "algorithm": _algorithm(reader),
        "reward": {
            "custom_reward_function": {"path": "${medssr.export_dir}/verl_reward.py", "name": "compute_score"},
            "reward_manager": {
                "source": "importlib",
                "name": "LabelMatchManager",
                "module": {"path": "${medssr.export_dir}/verl_reward.py"},
            },
        },
        "trainer": _trainer(reader, num_questions, stage),
    }
    reader.ignore("grpo.head_chunk_tokens")  # changes memory and speed alone
    reader.refuse_stop(prompts.stop)
    reader.refuse_rest()
    return values


def _data(reader: SettingsReader, max_prompt_tokens: int, seed: int) -> dict[str, Any]:
    return {
        "train_files": "${medssr.export_dir}/questions.parquet",
        # verl wants a file here; the settings below never validate, medssr-evaluate does.
        "val_files": "${medssr.export_dir}/questions.parquet",
        "train_batch_size": reader.value("grpo.num_prompts_per_step"),
        "max_prompt_length": max_prompt_tokens,
        "max_response_length": reader.value("grpo.max_new_tokens"),
        "truncation": "error",
        "seed": seed,
    }


def _actor(reader: SettingsReader, max_prompt_tokens: int) -> dict[str, Any]:
    max_new_tokens, beta = reader.value("grpo.max_new_tokens"), reader.value("grpo.beta")
    return {
        "ppo_mini_batch_size": reader.value("grpo.minibatch_prompts") or reader.value("grpo.num_prompts_per_step"),
        "ppo_epochs": reader.value("grpo.num_iterations"),
        "use_dynamic_bsz": True,
        # A row that is longer than the budget has a pass of its own here; verl refuses it.
        "ppo_max_token_len_per_gpu": max(reader.value("grpo.micro_batch_tokens"), max_prompt_tokens + max_new_tokens),
        **_loss(reader),
        "use_kl_loss": beta > 0 and reader.value("grpo.kl_placement") is KLPlacement.loss,
        "kl_loss_coef": beta,
        "kl_loss_type": reader.counterpart("grpo.kl_estimator", _ESTIMATORS),
        "entropy_coeff": reader.value("grpo.entropy_coef"),
        "grad_clip": reader.value("grpo.max_grad_norm"),
    }


def _loss(reader: SettingsReader) -> dict[str, Any]:
    loss_mode, loss_agg_mode = reader.counterpart("grpo.loss._target_", _LOSSES)
    parameters = reader.renamed("grpo.loss", _LOSS_PARAMETERS)
    if "clip_ratio_low" in parameters:
        parameters["clip_ratio"] = parameters["clip_ratio_low"]
    if "clip_ratio_c" in parameters and parameters["clip_ratio_c"] is None:
        parameters["clip_ratio_c"] = _NO_DUAL_CLIP
    is_divided_by_length = loss_agg_mode == "seq-mean-token-sum-norm"
    return {
        "policy_loss": {"loss_mode": loss_mode},
        "loss_agg_mode": loss_agg_mode,
        "loss_scale_factor": reader.value("grpo.max_new_tokens") if is_divided_by_length else None,
        **parameters,
    }


def _optimizer(reader: SettingsReader) -> dict[str, Any]:
    optimizer = read_adamw(reader)
    return {
        "lr": optimizer.learning_rate,
        "weight_decay": optimizer.weight_decay,
        "betas": list(optimizer.betas),
        "lr_warmup_steps": optimizer.num_warmup_steps,
        "lr_scheduler_type": "constant",
        "clip_grad": reader.value("grpo.max_grad_norm"),
    }


def _algorithm(reader: SettingsReader) -> dict[str, Any]:
    beta, cap = reader.value("grpo.beta"), reader.value("grpo.tis_cap")
    return {
        "adv_estimator": "grpo",
        "norm_adv_by_std_in_grpo": reader.counterpart("grpo.scale_rewards", _IS_SCALED),
        "use_kl_in_reward": beta > 0 and reader.value("grpo.kl_placement") is KLPlacement.reward,
        "kl_penalty": reader.counterpart("grpo.kl_estimator", _ESTIMATORS),
        "kl_ctrl": {"type": "fixed", "kl_coef": beta},
        "rollout_correction": {
            "rollout_is": None if cap is None else "token",
            "rollout_is_threshold": 2.0 if cap is None else cap,
        },
    }


def _trainer(reader: SettingsReader, num_questions: int, stage: str) -> dict[str, Any]:
    num_steps = reader.value("grpo.num_steps")
    steps_per_epoch = num_questions // reader.value("grpo.num_prompts_per_step")
    return {
        "total_training_steps": num_steps,
        # verl drops what is left of a pass over the questions when it fills no step.
        "total_epochs": math.ceil(num_steps / steps_per_epoch),
        "val_before_train": False,
        "test_freq": -1,
        # The last step is saved as well.
        "save_freq": 50,
        "project_name": "medssr",
        "experiment_name": stage,
        "logger": ["console"],
    }
