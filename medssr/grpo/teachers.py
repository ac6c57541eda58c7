"""Teachers of a stage: other weights than the policy's, which give labels, or what the policy is drawn to.

Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medssr.config import Dtype
from medssr.errors import require
from medssr.grpo.parts import StepPart

if TYPE_CHECKING:
    from medssr.grpo.rollouts import RolloutGroup, Sample


@dataclass(frozen=True, slots=True)
class MovingAverage:
    """A teacher with the moving average of the policy's weights, which begins with those that training starts from.

    After each optimiser step m <- d m + (1 - d) w. With d = 1 the teacher is the policy at the start of the stage.

    Args:
        decay: d in the first step, 0 to 1.
        final_decay: d towards the last step, 0 to 1; half a cosine leads from one to the other.
        num_answers: The number of the teacher's completions of each question, at least 1, if a reward asks for them.
        anchors_kl: Whether the KL is to the teacher, in place of the policy at the start of the stage.

    Raises:
        InputError: When a number is out of range.
    """

    decay: float
    final_decay: float
    num_answers: int
    anchors_kl: bool

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for name in ("decay", "final_decay"):
            value = getattr(self, name)
            require(_is_number(value) and 0 <= value <= 1, f"grpo.teacher.{name}", f"{value!r}; 0 to 1.")
        number = self.num_answers
        is_count = isinstance(number, int) and not isinstance(number, bool) and number >= 1
        require(is_count, "grpo.teacher.num_answers", f"{number!r}; at least 1.")
        is_flag = isinstance(self.anchors_kl, bool)
        require(is_flag, "grpo.teacher.anchors_kl", f"{self.anchors_kl!r}; true or false.")

    def decay_at(self, step: int, num_steps: int) -> float:
        """Returns d in a training step.

        d = final_decay - (final_decay - decay) (1 + cos(pi step / num_steps)) / 2, Co-rewarding's schedule
        (arXiv 2508.00410).

        Args:
            step: The index of the step.
            num_steps: The number of steps of the stage.

        Example:
            >>> teacher = MovingAverage(decay=0.9, final_decay=1.0, num_answers=8, anchors_kl=True)
            >>> [round(teacher.decay_at(step, 4), 4) for step in range(5)]
            [0.9, 0.9146, 0.95, 0.9854, 1.0]
        """
        fall = (1 + math.cos(math.pi * step / num_steps)) / 2
        return self.final_decay - (self.final_decay - self.decay) * fall


@dataclass(frozen=True, slots=True)
class OtherModel:
    """A teacher that is a model of its own, frozen, with the vocabulary of the policy.

    Args:
        path: Its folder or name on the hub.
        dtype: The number format of its weights in memory: bfloat16, float16 or float32.
    """

    path: str
    dtype: str

    def __post_init__(self) -> None:
        """Checks the number format."""
        names = [dtype.value for dtype in Dtype]
        require(self.dtype in names, "grpo.teacher.dtype", f"{self.dtype!r}; one of {', '.join(names)}.")


@dataclass(frozen=True)
class Distillation(StepPart):
    """A term of the loss that draws the policy's distributions to those of a teacher, on the policy's own completions.

    weight / N sum_i 1[r_i >= min_reward] sum_t D(teacher, policy)(. | x, y_i<t), over the N tokens of the completions
    that the gate lets through: the reward-gated distillation of KEPO (arXiv 2602.00400, equation 7).

    Args:
        weight: Weight of the term, above 0.
        interpolation: Of the divergence D (`models.divergence.generalized_jsd`), 0 to 1.
        min_reward: The least reward of a completion that is drawn to the teacher; null for all completions.

    Raises:
        InputError: When a number is out of range.
    """

    weight: float
    interpolation: float
    min_reward: float | None

    def __post_init__(self) -> None:
        """Checks the ranges."""
        is_positive = _is_number(self.weight) and self.weight > 0
        require(is_positive, "grpo.distillation.weight", f"{self.weight!r}; a number above 0.")
        is_share = _is_number(self.interpolation) and 0 <= self.interpolation <= 1
        require(is_share, "grpo.distillation.interpolation", f"{self.interpolation!r}; 0 to 1.")
        is_gate = self.min_reward is None or _is_number(self.min_reward)
        require(is_gate, "grpo.distillation.min_reward", f"{self.min_reward!r}; a number, or null.")

    def lets_through(self, reward: float) -> bool:
        """Returns whether a completion with a reward is drawn to the teacher; one that is not scored is not.

        Example:
            >>> gate = Distillation(weight=1.0, interpolation=0.5, min_reward=1.0)
            >>> gate.lets_through(1.0), gate.lets_through(0.5), gate.lets_through(float("nan"))
            (True, False, False)
        """
        return math.isfinite(reward) and (self.min_reward is None or reward >= self.min_reward)

    def score(self, groups: list[RolloutGroup], samples: Sequence[Sequence[Sample]]) -> list[RolloutGroup]:
        """Marks the samples whose rewards let them through; the groups stay as they are."""
        for group, row in zip(groups, samples, strict=True):
            for rollout, sample in zip(group.rollouts, row, strict=True):
                sample.is_distilled = self.lets_through(rollout.reward)
        return groups


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
