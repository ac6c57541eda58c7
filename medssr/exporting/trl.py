"""Questions and settings in the form of TRL 1.16."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from medssr.config import ExportSettings, GRPOConfig, KLEstimator, KLPlacement, Truncated
from medssr.exporting.common import (
    adamw,
    counterpart_of_loss,
    require_counterparts,
    require_enough_questions,
    write_parquet,
)
from medssr.exporting.prompts import ExportedPrompts
from medssr.questions import Question

# By the class of the loss: TRL's loss_type and importance_sampling_level.
_LOSSES = {
    "medssr.grpo.losses.DAPO": ("dapo", "token"),
    "medssr.grpo.losses.GRPO": ("grpo", "token"),
    "medssr.grpo.losses.BNPO": ("bnpo", "token"),
    "medssr.grpo.losses.DrGRPO": ("dr_grpo", "token"),
    "medssr.grpo.losses.GSPO": ("grpo", "sequence"),
    "medssr.grpo.losses.CISPO": ("cispo", "token"),
    "medssr.grpo.losses.SAPO": ("sapo", "token"),
}
_LOSS_PARAMETERS = {
    "epsilon": "epsilon",
    "epsilon_high": "epsilon_high",
    "dual_clip": "delta",
    "temperature_positive": "sapo_temperature_pos",
    "temperature_negative": "sapo_temperature_neg",
}


def write_trl_questions(folder: Path, questions: Sequence[Question], prompts: ExportedPrompts) -> None:
    """Writes the questions as a folder that `datasets.load_dataset` reads."""
    from datasets import Features, List, Value

    text = Value("string")
    features = Features(
        {
            "prompt": List({"role": text, "content": text}),
            # A list and not a map by letter: parquet would give every question the letters of all of them.
            "options": List(text),
            "answer": text,
            "question_id": text,
        }
    )
    write_parquet(folder / "train.parquet", trl_rows(questions, prompts.conversations), features)


def trl_rows(questions: Iterable[Question], conversations: Iterable[list[dict[str, str]]]) -> Iterable[dict[str, Any]]:
    """Yields each question as TRL passes it to trainer and rewards."""
    for question, conversation in zip(questions, conversations, strict=True):
        yield {
            "prompt": conversation,
            "options": list(question.options.values()),
            "answer": question.answer,
            "question_id": question.id,
        }


def trl_settings(settings: ExportSettings, key: str, prompts: ExportedPrompts, stage: str, seed: int) -> dict[str, Any]:
    """Returns this project's settings by the names of TRL's GRPOConfig, and what `trl_train.py` asks for beside it.

    Args:
        settings: The algorithm and the optimiser.
        key: Their place in the configuration, for messages.
        prompts: Their number is checked, and they know the end tokens.
        stage: Names the run.
        seed: Of TRL's own generators.

    Raises:
        InputError: When TRL has no counterpart of a setting.
    """
    grpo, optimizer = settings.grpo, adamw(settings.optim, f"{key}.optim")
    require_enough_questions(len(prompts.conversations), grpo, f"{key}.grpo")
    require_counterparts(
        "TRL",
        grpo,
        f"{key}.grpo",
        {
            # It masks truncated completions in the loss alone; they stay in mean and deviation of their group.
            "truncated": grpo.truncated is Truncated.keep,
            "overlong_buffer": grpo.overlong_buffer == 0,
            "shuffle_options": not grpo.shuffle_options,
            "kl_estimator": grpo.beta == 0 or grpo.kl_estimator is KLEstimator.k3,
            "kl_placement": grpo.beta == 0 or grpo.kl_placement is KLPlacement.loss,
        },
    )
    prompts_per_update = grpo.minibatch_prompts or grpo.num_prompts_per_step
    updates_per_rollout = grpo.num_iterations * grpo.num_prompts_per_step // prompts_per_update
    return {
        # For trl_train.py: from the first follows how many micro-batches a process accumulates.
        "completions_per_update": prompts_per_update * grpo.num_generations,
        "eos_token_ids": prompts.eos_token_ids,
        # TRL counts optimiser steps, this project rollouts.
        "max_steps": grpo.num_steps * updates_per_rollout,
        "generation_batch_size": grpo.num_prompts_per_step * grpo.num_generations,
        "num_generations": grpo.num_generations,
        "num_iterations": grpo.num_iterations,
        "temperature": grpo.temperature,
        "top_p": 1.0,
        "top_k": 0,
        "max_completion_length": grpo.max_new_tokens,
        "mask_truncated_completions": False,
        **_loss(grpo, f"{key}.grpo"),
        "beta": grpo.beta,
        "use_bias_correction_kl": False,
        "scale_rewards": grpo.scale_rewards.value,
        "vllm_importance_sampling_correction": grpo.tis_cap is not None,
        "vllm_importance_sampling_mode": "token_truncate",
        "vllm_importance_sampling_clip_max": 2.0 if grpo.tis_cap is None else grpo.tis_cap,
        "optim": "adamw_torch",
        "learning_rate": optimizer.learning_rate,
        "weight_decay": optimizer.weight_decay,
        "adam_beta1": optimizer.betas[0],
        "adam_beta2": optimizer.betas[1],
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": optimizer.num_warmup_steps * updates_per_rollout,
        "max_grad_norm": grpo.max_grad_norm,
        "gradient_checkpointing": True,
        "disable_dropout": True,
        "logging_steps": 1,
        "save_steps": 50,
        "run_name": stage,
        "report_to": "none",
        "seed": seed,
    }


def _loss(grpo: GRPOConfig, key: str) -> dict[str, Any]:
    """Returns the loss by TRL's names."""
    loss_type, level = counterpart_of_loss(_LOSSES, "TRL", grpo, key)
    loss = dict(grpo.loss)
    if "CISPO" in loss["_target_"]:
        # TRL bounds cispo's weight by epsilon_high itself, and only above.
        loss["epsilon_high"] += 1
    parameters = {theirs: loss[ours] for ours, theirs in _LOSS_PARAMETERS.items() if ours in loss}
    return {"loss_type": loss_type, "importance_sampling_level": level, **parameters}
