"""The typed group `grpo`: the settings of the algorithm, and the names of its variants."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from medssr.errors import require
from medssr.utils.instantiate import instantiate

# The value of `grpo.head_chunk_tokens` by which the number is chosen when training begins.
AUTO_CHUNK = "auto"


class ScaleRewards(Enum):
    """Normalisation of centred rewards: by the standard deviation of the group, of the batch, or none."""

    group = "group"
    batch = "batch"
    none = "none"


class KLEstimator(Enum):
    """Estimator of the KL to the reference policy from the sampled tokens."""

    k1 = "k1"
    k2 = "k2"
    k3 = "k3"


class KLPlacement(Enum):
    """Where the KL to the reference policy is applied: added to the loss, or subtracted from the reward."""

    loss = "loss"
    reward = "reward"


# The teacher whose weights follow the policy's, and which samples with the policy's engine.
MOVING_AVERAGE = "medssr.grpo.teachers.MovingAverage"


class Truncated(Enum):
    """Treatment of truncated completions: kept with their rewards, or masked out of group and loss."""

    keep = "keep"
    mask = "mask"


@dataclass
class GRPOConfig:
    """Settings of GRPO: sampling, advantages, loss and update."""

    num_steps: int
    num_prompts_per_step: int
    num_generations: int
    shuffle_options: bool
    has_permuted_view: bool
    dynamic_sampling_rounds: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    max_new_tokens: int
    truncated: Truncated
    overlong_buffer: int
    overlong_penalty: float
    reward_timeout_s: float
    num_reward_workers: int
    micro_batch_tokens: int
    head_chunk_tokens: Any  # int, AUTO_CHUNK or None, a union which OmegaConf cannot merge
    num_iterations: int
    minibatch_prompts: int | None
    loss: dict[str, Any]
    tis_cap: float | None
    beta: float
    kl_estimator: KLEstimator
    kl_placement: KLPlacement
    entropy_coef: float
    scale_rewards: ScaleRewards
    max_grad_norm: float
    max_skipped_steps: int
    teacher: dict[str, Any] | None = None
    distillation: dict[str, Any] | None = None
    hints: dict[str, Any] | None = None
    # Not Node | None, into whose null Hydra cannot merge settings of the command line.
    selection: Any = None

    @property
    def num_views(self) -> int:
        """How often each question of a step is asked."""
        return 2 if self.has_permuted_view else 1

    @property
    def has_average(self) -> bool:
        """Whether the teacher is the moving average of the policy."""
        return self.teacher is not None and self.teacher["_target_"] == MOVING_AVERAGE

    @property
    def keeps_reference(self) -> bool:
        """Whether the policy at the start of the stage is kept for the KL, which is not to a teacher."""
        return self.beta > 0 and not (self.teacher or {}).get("anchors_kl", False)

    @property
    def has_kl_in_reward(self) -> bool:
        """Whether the KL to the reference is subtracted from the reward."""
        return self.beta > 0 and self.kl_placement is KLPlacement.reward

    @property
    def has_rests(self) -> bool:
        """Whether questions may rest, so that another one is asked in their place."""
        return self.selection is not None and bool(instantiate(self.selection, "grpo.selection").has_rests)

    def __post_init__(self) -> None:
        """Checks ranges and combinations."""
        self._check_sampling()
        self._check_update()
        self._check_loss()
        self._check_selection()

    def _check_sampling(self) -> None:
        require(
            self.num_generations >= 2,
            "grpo.num_generations",
            f"{self.num_generations}; an advantage compares the completions of a group, so at least 2.",
        )
        require(self.num_prompts_per_step >= 1, "grpo.num_prompts_per_step", f"{self.num_prompts_per_step}.")
        require(self.num_steps >= 1, "grpo.num_steps", f"{self.num_steps}; at least 1.")
        require(
            self.dynamic_sampling_rounds >= 0,
            "grpo.dynamic_sampling_rounds",
            f"{self.dynamic_sampling_rounds}; at least 0.",
        )
        if self.dynamic_sampling_rounds > 0:
            problem = "true, but dynamic sampling replaces single groups, and views come in pairs; take 0 rounds."
            require(not self.has_permuted_view, "grpo.has_permuted_view", problem)
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
        require(self.num_reward_workers >= 1, "grpo.num_reward_workers", f"{self.num_reward_workers}; at least 1.")
        require(self.overlong_penalty >= 0, "grpo.overlong_penalty", f"{self.overlong_penalty}; at least 0.")

    def _check_update(self) -> None:
        require(self.num_iterations >= 1, "grpo.num_iterations", f"{self.num_iterations}; at least 1.")
        size = self.minibatch_prompts
        require(
            size is None or (size >= 1 and self.num_prompts_per_step % size == 0),
            "grpo.minibatch_prompts",
            f"{size} does not divide grpo.num_prompts_per_step ({self.num_prompts_per_step}).",
        )
        limit = self.max_skipped_steps
        require(limit >= 1, "grpo.max_skipped_steps", f"{limit}; at least 1.")
        chunk = self.head_chunk_tokens
        is_valid = chunk in (None, AUTO_CHUNK) or (isinstance(chunk, int) and chunk >= 1)
        require(is_valid, "grpo.head_chunk_tokens", f"{chunk}; at least 1, {AUTO_CHUNK}, or null.")

    def _check_loss(self) -> None:
        require(self.beta >= 0, "grpo.beta", f"{self.beta}; at least 0.")
        require(self.entropy_coef >= 0, "grpo.entropy_coef", f"{self.entropy_coef}; at least 0.")
        require(self.tis_cap is None or self.tis_cap >= 1, "grpo.tis_cap", f"{self.tis_cap}; at least 1, or null.")
        loss = instantiate(self.loss, "grpo.loss")  # checks its parameters; the classes of medssr import no torch
        is_loss = callable(loss) and hasattr(loss, "normalizer") and hasattr(loss, "row_weights")
        remedy = "derive it from medssr.grpo.losses.PolicyLoss."
        require(is_loss, "grpo.loss._target_", f"{self.loss['_target_']} is no policy loss; {remedy}")
        if self.teacher is not None:
            instantiate(self.teacher, "grpo.teacher")
        if self.distillation is not None:
            instantiate(self.distillation, "grpo.distillation")
            problem = "null, but grpo.distillation draws the policy to one; take grpo/teacher=other_model."
            require(self.teacher is not None, "grpo.teacher", problem)

    def _check_selection(self) -> None:
        if self.selection is None:
            return
        has_target = isinstance(self.selection, dict) and "_target_" in self.selection
        problem = f"{self.selection}; choose one, such as grpo/selection=trapo, or null."
        require(has_target, "grpo.selection", problem)
        selection = instantiate(self.selection, "grpo.selection")  # checks its parameters; the classes import no torch
        remedy = "derive it from medssr.grpo.selection.QuestionSelection."
        names = ("select", "rests", "has_rests", "record", "state_dict", "load_state_dict")
        is_selection = all(hasattr(selection, name) for name in names)
        require(is_selection, "grpo.selection._target_", f"{self.selection['_target_']} is no selection; {remedy}")
