"""The moments of a training step at which an optional part of the method acts.

A stage has the parts that its configuration asks for (`methods.py`), often none. Each is told of every step, in the
order of the list. Importing this module does not import torch, since settings that are checked when the configuration
is composed are parts as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from medssr.answers import Choice
    from medssr.engines.types import Completion
    from medssr.grpo.rollouts import RolloutGroup, Sample, ScoredGroups
    from medssr.questions import Question
    from medssr.training.step_loader import StepBatch


class StepPart:
    """An optional part of a training step. Sub-classes define the moments at which they act, in this order.

    Attributes:
        checkpoint_key: Where its state is in checkpoints; None if it has none.
        needs_pass: Whether it computes with the policy before the update.
        sets_old_logps: Whether it sets the old log-probs of samples, so that the update need not compute them.
    """

    checkpoint_key: ClassVar[str | None] = None
    needs_pass: bool = False
    sets_old_logps: bool = False

    def choose(self, batch: StepBatch[Question]) -> StepBatch[Question]:
        """Returns the questions of the step that are asked; every process has all of them."""
        return batch

    def begin(self, batch: StepBatch[Question]) -> StepBatch[Question]:
        """Returns the questions that this process asks, given its shard of the step."""
        return batch

    def arrived(
        self, index: int, question: Question, completions: Sequence[Completion], choices: Sequence[Choice]
    ) -> None:
        """Is told that the completions of a question are there, while others may still be sampled.

        Args:
            index: The place of the question among those that are asked; they may arrive in any order.
            question: The question.
            completions: `[G]`.
            choices: `[G]`, their answers.
        """

    def complete(self, step: int, groups: list[RolloutGroup]) -> list[RolloutGroup]:
        """Returns the groups, all of whose completions are there, with what others answer or with further ones."""
        return groups

    def score(self, groups: list[RolloutGroup], samples: Sequence[Sequence[Sample]]) -> list[RolloutGroup]:
        """Returns the groups with further rewards; the samples, `[P][G]`, are those of the groups."""
        return groups

    def select(self, step: int, scored: ScoredGroups) -> ScoredGroups:
        """Returns the scored groups of this process with what is decided about them; all processes call it together."""
        return scored

    def stepped(self, step: int) -> None:
        """Is told that an optimiser step of a training step was taken."""

    def record(self, step: int, groups: Sequence[RolloutGroup]) -> dict[str, float]:
        """Returns metrics of the step, given the groups of all processes, once it is trained."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up the state of a checkpoint."""
