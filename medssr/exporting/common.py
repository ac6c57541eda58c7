"""What a framework cannot do is refused when the export is made, not found out on its cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from medssr.config import GRPOConfig, OptimConfig
from medssr.errors import InputError


def require_counterparts(framework: str, grpo: GRPOConfig, key: str, has_counterpart: Mapping[str, bool]) -> None:
    """Raises InputError for the first setting whose value a framework has no counterpart of.

    Args:
        framework: Its name.
        grpo: The settings.
        key: Their place in the configuration.
        has_counterpart: By field, whether the framework has one of the value that `grpo` has there.
    """
    for name, is_met in has_counterpart.items():
        if not is_met:
            value = getattr(grpo, name)
            shown = value.value if isinstance(value, Enum) else value
            raise InputError(
                f"{key}.{name}: {framework} has no counterpart of {shown}; change it, or leave {framework} out of "
                "targets."
            )


def counterpart_of_loss(
    counterparts: Mapping[str, tuple[str, str]], framework: str, grpo: GRPOConfig, key: str
) -> tuple[str, str]:
    """Returns what a framework calls a loss.

    Args:
        counterparts: Its names by the class of the loss.
        framework: Its name.
        grpo: The settings.
        key: Their place in the configuration.

    Raises:
        InputError: When it has no counterpart.
    """
    target = grpo.loss["_target_"]
    if target not in counterparts:
        raise InputError(
            f"{key}.loss: {framework} has no counterpart of {target}; change it, or leave {framework} out of targets."
        )
    return counterparts[target]


def require_enough_questions(num_questions: int, grpo: GRPOConfig, key: str) -> None:
    """Raises InputError when a step asks for more questions than there are; other frameworks repeat none within it."""
    if num_questions < grpo.num_prompts_per_step:
        raise InputError(
            f"{key}.num_prompts_per_step: {grpo.num_prompts_per_step} questions a step, but there are {num_questions}; "
            "other frameworks repeat no question within a step. Lower it."
        )


def write_parquet(path: Path, rows: Iterable[dict[str, Any]], features: Any) -> None:
    """Writes the rows, whole or not at all.

    Args:
        path: The file.
        rows: One dictionary each.
        features: Their types, of `datasets`; named, so that a column of nulls has the type that it has elsewhere.
    """
    import datasets

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    datasets.disable_progress_bars()
    datasets.Dataset.from_list(list(rows), features=features).to_parquet(str(temporary))
    temporary.replace(path)


# What torch takes where the configuration says nothing.
_TORCH_BETAS = (0.9, 0.999)


@dataclass(frozen=True, slots=True)
class AdamW:
    """AdamW with a linear warm-up to a constant rate; the warm-up counts rollouts."""

    learning_rate: float
    weight_decay: float
    betas: tuple[float, float]
    num_warmup_steps: int


def adamw(config: OptimConfig, key: str) -> AdamW:
    """Returns the numbers of an optimiser and its schedule.

    Args:
        config: Optimiser and schedule.
        key: Their place in the configuration, for messages.

    Raises:
        InputError: When it is another optimiser or another schedule.
    """
    optimizer, scheduler = config.optimizer, config.scheduler
    for node, target in (
        (optimizer, "torch.optim.AdamW"),
        (scheduler, "medssr.training.optimizer_step.warmup_then_constant"),
    ):
        if node["_target_"] != target:
            raise InputError(f"{key}: {node['_target_']} cannot be exported; expected {target}.")
    beta1, beta2 = {"betas": _TORCH_BETAS, **optimizer}["betas"]
    return AdamW(optimizer["lr"], optimizer["weight_decay"], (beta1, beta2), scheduler["num_warmup_steps"])
