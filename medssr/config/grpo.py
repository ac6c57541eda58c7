"""The typed group `grpo`: the algorithm and the names of its variants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

from medssr.config.messages import wrong_value
from medssr.errors import InputError, require


class ScaleRewards(Enum):
    """What the centred rewards of a group are divided by: the group's deviation, the batch's, or nothing."""

    group = "group"
    batch = "batch"
    none = "none"


class LossType(Enum):
    """The policy loss; docs/algorithms.md has the formula and the paper of each."""

    dapo = "dapo"
    grpo = "grpo"
    bnpo = "bnpo"
    dr_grpo = "dr_grpo"
    gspo = "gspo"
    cispo = "cispo"
    sapo = "sapo"


class KLEstimator(Enum):
    """How the divergence from the reference policy is estimated from the sampled token alone."""

    k1 = "k1"
    k2 = "k2"
    k3 = "k3"


class KLPlacement(Enum):
    """Where the divergence from the reference policy counts: as a term of the loss, or taken off the reward."""

    loss = "loss"
    reward = "reward"


class Truncated(Enum):
    """What becomes of a completion that was cut: judged by the rewards like any other, or left out."""

    keep = "keep"
    mask = "mask"


@dataclass
class GRPOConfig:
    """The algorithm: what is sampled per step, how rewards become advantages, how far a step may go."""

    num_steps: int
    num_prompts_per_step: int
    num_generations: int
    shuffle_options: bool
    max_refills: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    max_new_tokens: int
    truncated: Truncated
    overlong_buffer: int
    overlong_penalty: float
    reward_timeout_s: float
    micro_batch_tokens: int
    head_chunk_tokens: int | None
    num_iterations: int
    num_prompts_per_update: int | None
    loss_type: LossType
    epsilon: float
    epsilon_high: float
    dual_clip: float | None
    sapo_temperature_positive: float
    sapo_temperature_negative: float
    importance_cap: float | None
    beta: float
    kl_estimator: KLEstimator
    kl_placement: KLPlacement
    scale_rewards: ScaleRewards
    max_grad_norm: float
    max_skipped_steps: int

    def __post_init__(self) -> None:
        """Checks the ranges."""
        self._check_sampling()
        self._check_update()
        self._check_loss()

    def _check_sampling(self) -> None:
        require(
            self.num_generations >= 2,
            "grpo.num_generations",
            f"{self.num_generations}; an advantage compares the completions of a group, so at least 2.",
        )
        require(self.num_prompts_per_step >= 1, "grpo.num_prompts_per_step", f"{self.num_prompts_per_step}.")
        require(self.num_steps >= 1, "grpo.num_steps", f"{self.num_steps}; at least 1.")
        require(self.max_refills >= 0, "grpo.max_refills", f"{self.max_refills}; at least 0.")
        require(self.temperature > 0, "grpo.temperature", f"{self.temperature}; above 0.")
        for field, all_tokens in (("top_p", 1), ("top_k", 0), ("min_p", 0)):
            require(
                getattr(self, field) == all_tokens,
                f"grpo.{field}",
                f"{getattr(self, field)}; training samples with a temperature alone, so {all_tokens}: with tokens left "
                "out, completions come from another distribution than the one whose log-probs the update divides by.",
            )
        require(
            0 <= self.overlong_buffer <= self.max_new_tokens,
            "grpo.overlong_buffer",
            f"{self.overlong_buffer}; 0 to grpo.max_new_tokens ({self.max_new_tokens}).",
        )
        require(self.reward_timeout_s > 0, "grpo.reward_timeout_s", f"{self.reward_timeout_s}; above 0.")
        require(self.overlong_penalty >= 0, "grpo.overlong_penalty", f"{self.overlong_penalty}; at least 0.")

    def _check_update(self) -> None:
        require(self.num_iterations >= 1, "grpo.num_iterations", f"{self.num_iterations}; at least 1.")
        size = self.num_prompts_per_update
        require(
            size is None or (size >= 1 and self.num_prompts_per_step % size == 0),
            "grpo.num_prompts_per_update",
            f"{size} does not divide grpo.num_prompts_per_step ({self.num_prompts_per_step}).",
        )
        limit = self.max_skipped_steps
        require(limit >= 1, "grpo.max_skipped_steps", f"{limit}; at least 1.")
        chunk = self.head_chunk_tokens
        require(chunk is None or chunk >= 1, "grpo.head_chunk_tokens", f"{chunk}; at least 1, or null.")

    def _check_loss(self) -> None:
        require(self.beta >= 0, "grpo.beta", f"{self.beta}; at least 0.")
        require(0 < self.epsilon < 1, "grpo.epsilon", f"{self.epsilon}; between 0 and 1.")
        require(self.epsilon_high > 0, "grpo.epsilon_high", f"{self.epsilon_high}; above 0.")
        is_clipped = self.loss_type not in (LossType.cispo, LossType.sapo)
        if is_clipped and self.dual_clip is not None:
            highest = 1 + self.epsilon_high
            require(
                self.dual_clip > highest,
                "grpo.dual_clip",
                f"{self.dual_clip}; above 1 + grpo.epsilon_high ({highest:g}), or null.",
            )
        cap = self.importance_cap
        require(cap is None or cap >= 1, "grpo.importance_cap", f"{cap}; at least 1, or null.")
        for field in ("sapo_temperature_positive", "sapo_temperature_negative"):
            require(getattr(self, field) > 0, f"grpo.{field}", f"{getattr(self, field)}; above 0.")


def apply_overrides(config: GRPOConfig, overrides: Mapping[str, Any]) -> GRPOConfig:
    """Returns the configuration with a stage's own values, checked like any other.

    Raises:
        InputError: When an override names no field or has the wrong type.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        merged = OmegaConf.merge(OmegaConf.structured(config), dict(overrides))
    except OmegaConfBaseException as error:
        names = [f"grpo.{field.name}" for field in fields(GRPOConfig)]
        raise InputError(f"stages, {wrong_value(error, 'grpo', names)}") from error
    result = OmegaConf.to_object(merged)
    assert isinstance(result, GRPOConfig)
    return result
