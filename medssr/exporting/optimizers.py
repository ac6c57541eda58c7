"""The optimiser of a configuration as plain numbers, for frameworks that have AdamW and a warm-up of their own."""

from __future__ import annotations

from dataclasses import dataclass

from medssr.config import OptimConfig
from medssr.errors import InputError

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
        (scheduler, "medssr.models.schedules.warmup_then_constant"),
    ):
        if node["_target_"] != target:
            raise InputError(f"{key}: {node['_target_']} cannot be exported; expected {target}.")
    beta1, beta2 = {"betas": _TORCH_BETAS, **optimizer}["betas"]
    return AdamW(optimizer["lr"], optimizer["weight_decay"], (beta1, beta2), scheduler["num_warmup_steps"])
