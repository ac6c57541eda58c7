"""Keeps what became of each question whenever it was asked, for rewards of groups and for selections of questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from medssr.grpo.parts import StepPart
from medssr.grpo.rollouts import RolloutGroup
from medssr.rewards.history import QuestionHistory, Visit, visit_of


class Visits(StepPart):
    """Adds the visits of each step to a history.

    Args:
        history: The history of the stage, which others read.
    """

    checkpoint_key = "question_history"

    def __init__(self, history: QuestionHistory) -> None:
        self.history = history

    def record(self, step: int, groups: Sequence[RolloutGroup]) -> dict[str, float]:
        """Adds the visits of a step, which is trained; it has no metrics."""
        self.history.add(visits_of(step, groups))
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Returns the history."""
        return self.history.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up the history of a checkpoint."""
        self.history.load_state_dict(state)


def visits_of(step: int, groups: Sequence[RolloutGroup]) -> list[tuple[str, Visit]]:
    """Returns the visit of each question of a step, with its id; completions with a hint are no votes."""
    return [(group.question.id, _visit(step, group)) for group in groups]


def _visit(step: int, group: RolloutGroup) -> Visit:
    pairs = zip(group.letters, group.rollouts, strict=True)
    unaided = [letter for letter, rollout in pairs if not rollout.is_hinted]
    visit = visit_of(step, group.question, unaided, group.label)
    return replace(visit, is_labelled=group.is_labelled, is_trained=group.is_trained)
