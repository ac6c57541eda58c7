"""Questions and settings in the form of verl 0.9."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medssr.config import ExportSettings, GRPOConfig, KLEstimator, KLPlacement, ScaleRewards, Truncated
from medssr.exporting.common import (
    adamw,
    counterpart_of_loss,
    require_counterparts,
    require_enough_questions,
    write_parquet,
)
from medssr.exporting.prompts import ExportedPrompts
from medssr.questions import Question

# verl has a dual clip in every clipped loss; above this the ratio, held within e^20, never comes.
_NO_DUAL_CLIP = 1e9
# By the class of the loss: verl's loss_mode and loss_agg_mode. BNPO, a mean over each process's own tokens, has none.
_LOSSES = {
    "medssr.grpo.losses.DAPO": ("vanilla", "token-mean"),
    "medssr.grpo.losses.GRPO": ("vanilla", "seq-mean-token-mean"),
    "medssr.grpo.losses.DrGRPO": ("vanilla", "seq-mean-token-sum-norm"),
    "medssr.grpo.losses.GSPO": ("gspo", "seq-mean-token-mean"),
    "medssr.grpo.losses.CISPO": ("cispo", "token-mean"),
    "medssr.grpo.losses.SAPO": ("sapo", "seq-mean-token-mean"),
}
_ESTIMATORS = {KLEstimator.k1: "k1", KLEstimator.k2: "k2", KLEstimator.k3: "low_var_kl"}


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


def verl_settings(
    settings: ExportSettings, key: str, prompts: ExportedPrompts, stage: str, seed: int
) -> dict[str, Any]:
    """Returns this project's settings by verl's names, to go on top of verl's `ppo_trainer`.

    Args:
        settings: The algorithm and the optimiser.
        key: Their place in the configuration, for messages.
        prompts: Their number and length decide epochs and buffers.
        stage: Names the run.
        seed: Of verl's own generators.

    Raises:
        InputError: When verl has no counterpart of a setting.
    """
    grpo, optimizer = settings.grpo, adamw(settings.optim, f"{key}.optim")
    num_questions = len(prompts.conversations)
    require_enough_questions(num_questions, grpo, f"{key}.grpo")
    require_counterparts(
        "verl",
        grpo,
        f"{key}.grpo",
        {
            "scale_rewards": grpo.scale_rewards is not ScaleRewards.batch,
            "truncated": grpo.truncated is Truncated.keep,
            "overlong_buffer": grpo.overlong_buffer == 0,
            "shuffle_options": not grpo.shuffle_options,
        },
    )
    return {
        "medssr": {"export_dir": "???", "eos_token_ids": prompts.eos_token_ids},
        "data": {
            "train_files": "${medssr.export_dir}/questions.parquet",
            # verl wants a file here; the settings below never validate, medssr-evaluate does.
            "val_files": "${medssr.export_dir}/questions.parquet",
            "train_batch_size": grpo.num_prompts_per_step,
            "max_prompt_length": prompts.max_tokens,
            "max_response_length": grpo.max_new_tokens,
            "truncation": "error",
            "seed": seed,
        },
        "actor_rollout_ref": {
            "model": {
                "tokenizer_path": "${medssr.export_dir}/../tokenizer",
                "enable_gradient_checkpointing": True,
            },
            "actor": _actor(grpo, f"{key}.grpo", prompts.max_tokens)
            | {
                "optim": {
                    "lr": optimizer.learning_rate,
                    "weight_decay": optimizer.weight_decay,
                    "betas": list(optimizer.betas),
                    "lr_warmup_steps": optimizer.num_warmup_steps,
                    "lr_scheduler_type": "constant",
                    "clip_grad": grpo.max_grad_norm,
                }
            },
            "rollout": {
                "name": "vllm",
                "n": grpo.num_generations,
                "temperature": grpo.temperature,
                "top_p": 1.0,
                "top_k": -1,
                "seed": seed,
            },
        },
        "algorithm": _algorithm(grpo),
        "reward": {
            "custom_reward_function": {"path": "${medssr.export_dir}/verl_reward.py", "name": "compute_score"},
            "reward_manager": {
                "source": "importlib",
                "name": "LabelMatchManager",
                "module": {"path": "${medssr.export_dir}/verl_reward.py"},
            },
        },
        "trainer": {
            "total_training_steps": grpo.num_steps,
            # verl drops what is left of a pass over the questions when it fills no step.
            "total_epochs": math.ceil(grpo.num_steps / (num_questions // grpo.num_prompts_per_step)),
            "val_before_train": False,
            "test_freq": -1,
            # The last step is saved as well.
            "save_freq": 50,
            "project_name": "medssr",
            "experiment_name": stage,
            "logger": ["console"],
        },
    }


def _actor(grpo: GRPOConfig, key: str, max_prompt_tokens: int) -> dict[str, Any]:
    loss_mode, loss_agg_mode = counterpart_of_loss(_LOSSES, "verl", grpo, key)
    is_in_loss = grpo.beta > 0 and grpo.kl_placement is KLPlacement.loss
    return {
        "ppo_mini_batch_size": grpo.minibatch_prompts or grpo.num_prompts_per_step,
        "ppo_epochs": grpo.num_iterations,
        "use_dynamic_bsz": True,
        # A row that is longer than the budget has a pass of its own here; verl refuses it.
        "ppo_max_token_len_per_gpu": max(grpo.micro_batch_tokens, max_prompt_tokens + grpo.max_new_tokens),
        "policy_loss": {"loss_mode": loss_mode},
        "loss_agg_mode": loss_agg_mode,
        "loss_scale_factor": grpo.max_new_tokens if loss_agg_mode.endswith("norm") else None,
        **_loss_parameters(grpo.loss),
        "use_kl_loss": is_in_loss,
        "kl_loss_coef": grpo.beta,
        "kl_loss_type": _ESTIMATORS[grpo.kl_estimator],
        "entropy_coeff": 0,
        "grad_clip": grpo.max_grad_norm,
    }


def _loss_parameters(loss: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parameters of a loss by verl's names."""
    if "temperature_positive" in loss:
        return {"tau_pos": loss["temperature_positive"], "tau_neg": loss["temperature_negative"]}
    bounds = {
        "clip_ratio": loss["epsilon"],
        "clip_ratio_low": loss["epsilon"],
        "clip_ratio_high": loss["epsilon_high"],
    }
    if "dual_clip" not in loss:
        return bounds
    return bounds | {"clip_ratio_c": _NO_DUAL_CLIP if loss["dual_clip"] is None else loss["dual_clip"]}


def _algorithm(grpo: GRPOConfig) -> dict[str, Any]:
    return {
        "adv_estimator": "grpo",
        "norm_adv_by_std_in_grpo": grpo.scale_rewards is ScaleRewards.group,
        "use_kl_in_reward": grpo.beta > 0 and grpo.kl_placement is KLPlacement.reward,
        "kl_penalty": _ESTIMATORS[grpo.kl_estimator],
        "kl_ctrl": {"type": "fixed", "kl_coef": grpo.beta},
        "rollout_correction": {
            "rollout_is": None if grpo.tis_cap is None else "token",
            "rollout_is_threshold": 2.0 if grpo.tis_cap is None else grpo.tis_cap,
        },
    }
