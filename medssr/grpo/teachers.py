"""Teachers of a stage: other weights than the policy's, which give labels and log-probs. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from medssr.errors import require


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
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            require(is_number and 0 <= value <= 1, f"grpo.teacher.{name}", f"{value!r}; 0 to 1.")
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
