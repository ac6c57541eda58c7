"""Translates questions and settings into the form of TRL 1.16."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from medssr.exporting.common import SettingsReader, read_adamw, require_enough_questions, write_parquet
from medssr.exporting.conversations import ExportedPrompts
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


def trl_settings(reader: SettingsReader, prompts: ExportedPrompts, stage: str, seed: int) -> dict[str, Any]:
    """Returns this project's settings by the names of TRL's GRPOConfig, and what `trl_train.py` asks for beside it.

    Args:
        reader: The algorithm and the optimiser.
        prompts: Their number is checked, and they hold the end tokens.
        stage: Names the run.
        seed: Of TRL's own generators.

    Raises:
        InputError: When TRL has no counterpart of a setting.
    """
    require_enough_questions(len(prompts.conversations), reader)
    num_prompts, num_generations = reader.value("grpo.num_prompts_per_step"), reader.value("grpo.num_generations")
    prompts_per_update = reader.value("grpo.minibatch_prompts") or num_prompts
    updates_per_rollout = reader.value("grpo.num_iterations") * num_prompts // prompts_per_update
    values = {
        # For trl_train.py: from the first follows how many micro-batches a process accumulates.
        "completions_per_update": prompts_per_update * num_generations,
        "eos_token_ids": prompts.eos_token_ids,
        # TRL counts optimiser steps, this project rollouts.
        "max_steps": reader.value("grpo.num_steps") * updates_per_rollout,
        "generation_batch_size": num_prompts * num_generations,
        "num_generations": num_generations,
        "num_iterations": reader.value("grpo.num_iterations"),
        "temperature": reader.value("grpo.temperature"),
        "top_p": 1.0,
        "top_k": 0,
        "max_completion_length": reader.value("grpo.max_new_tokens"),
        # Masked completions would stay in mean and deviation of their group, which `grpo.truncated=mask` does not do.
        "mask_truncated_completions": False,
        **_loss(reader),
        **_kl(reader),
        "scale_rewards": reader.value("grpo.scale_rewards").value,
        **_importance_sampling(reader),
        **_optimizer(reader, updates_per_rollout),
        "gradient_checkpointing": True,
        "disable_dropout": True,
        "logging_steps": 1,
        "save_steps": 50,
        "run_name": stage,
        "report_to": "none",
        "seed": seed,
    }
    # Both change memory and speed alone; TRL's passes have a number of completions.
    reader.ignore("grpo.micro_batch_tokens", "grpo.head_chunk_tokens")
    reader.refuse_stop(prompts.stop)
    reader.refuse_rest()
    return values


def _loss(reader: SettingsReader) -> dict[str, Any]:
    loss_type, level = reader.counterpart("grpo.loss._target_", _LOSSES)
    parameters = reader.renamed("grpo.loss", _LOSS_PARAMETERS)
    if loss_type == "cispo":
        # TRL bounds the weight by epsilon_high itself, and only above.
        parameters["epsilon_high"] += 1
    return {"loss_type": loss_type, "importance_sampling_level": level, **parameters}


def _kl(reader: SettingsReader) -> dict[str, Any]:
    """Returns the KL: TRL has k3 in the loss alone, the default here; without a KL its form makes no difference."""
    beta = reader.value("grpo.beta")
    if beta == 0:
        reader.ignore("grpo.kl_estimator", "grpo.kl_placement")
    return {"beta": beta, "use_bias_correction_kl": False}


def _importance_sampling(reader: SettingsReader) -> dict[str, Any]:
    cap = reader.value("grpo.tis_cap")
    return {
        "vllm_importance_sampling_correction": cap is not None,
        "vllm_importance_sampling_mode": "token_truncate",
        "vllm_importance_sampling_clip_max": 2.0 if cap is None else cap,
    }


def _optimizer(reader: SettingsReader, updates_per_rollout: int) -> dict[str, Any]:
    optimizer = read_adamw(reader)
    return {
        "optim": "adamw_torch",
        "learning_rate": optimizer.learning_rate,
        "weight_decay": optimizer.weight_decay,
        "adam_beta1": optimizer.betas[0],
        "adam_beta2": optimizer.betas[1],
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": optimizer.num_warmup_steps * updates_per_rollout,
        "max_grad_norm": reader.value("grpo.max_grad_norm"),
    }
