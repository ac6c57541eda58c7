"""Applies a selection of questions to the groups of a step, which are shared by processes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean, pstdev
from typing import Any

import torch

from medssr.grpo.parts import StepPart
from medssr.grpo.rollouts import RolloutGroup, ScoredGroups, weigh_samples
from medssr.grpo.selection import Candidate, QuestionSelection
from medssr.grpo.visits import visits_of
from medssr.questions import Question
from medssr.rewards.history import QuestionHistory
from medssr.training.step_loader import StepBatch
from medssr.utils.processes import gather_objects, rank


class Selecting(StepPart):
    """Lets questions rest, and leaves questions out of training, as a selection says.

    Args:
        selection: The selection.
        target: Its class, by which a checkpoint knows it.
        stage: The name of the stage.
        history: The earlier visits of all questions, kept by `visits.Visits`.
    """

    checkpoint_key = "question_selection"

    def __init__(self, selection: QuestionSelection, target: str, stage: str, history: QuestionHistory) -> None:
        self.selection, self._history = selection, history
        self._identity = {"stage": stage, "target": target}
        self._num_asked = 0  # of the step, as are the next two
        self._rested: list[str] = []
        self._candidates: list[Candidate] = []

    def choose(self, batch: StepBatch[Question]) -> StepBatch[Question]:
        """Returns the batch with other questions in place of those that rest, in this step and the one to come.

        The next step replaces its own once more, when this one's answers are known.
        """
        self._num_asked = len(batch.items)
        batch, self._rested = replace_resting(batch, self.selection, self._history)
        if batch.following is None:
            return batch
        following, _ = replace_resting(batch.following, self.selection, self._history)
        return replace(batch, following=following)

    def select(self, step: int, scored: ScoredGroups) -> ScoredGroups:
        """Returns the groups of this process with weight 0 for questions that the selection leaves out."""
        groups, self._candidates = select_groups(self.selection, step, scored.groups, self._history)
        weigh_samples(groups, scored.samples)
        is_trained = torch.tensor([group.is_trained for group in groups])
        return replace(scored, groups=groups, has_signal=scored.has_signal & is_trained)

    def record(self, step: int, groups: Sequence[RolloutGroup]) -> dict[str, float]:
        """Returns how many questions were selected and how many rested, and tells the selection of the step."""
        self.selection.record(self._candidates, self._rested)
        return selection_metrics(groups) | {"train/rested_share": len(self._rested) / self._num_asked}

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of the selection, with whose it is."""
        return self._identity | {"state": self.selection.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up the state of the same selection; another keeps other things, and another stage other questions."""
        if self._identity.items() <= state.items():
            self.selection.load_state_dict(state["state"])


def replace_resting(
    batch: StepBatch[Question], selection: QuestionSelection, history: QuestionHistory
) -> tuple[StepBatch[Question], list[str]]:
    """Returns a step's batch with spare questions in place of those that rest, and the ids of these.

    A spare question does not rest itself and is not asked twice; where there are too few, questions do not rest.
    """
    items = list(batch.items)
    asked = {question.id for question in items}
    spares = iter({question.id: question for question in batch.spare_items if question.id not in asked}.values())
    ready = (question for question in spares if not selection.rests(question.id, history))
    rested = []
    for index, question in enumerate(batch.items):
        if selection.rests(question.id, history) and (spare := next(ready, None)) is not None:
            items[index] = spare
            rested.append(question.id)
    return replace(batch, items=items), rested


def select_groups(
    selection: QuestionSelection, step: int, groups: Sequence[RolloutGroup], history: QuestionHistory
) -> tuple[list[RolloutGroup], list[Candidate]]:
    """Returns the groups of this process, with weight 0 where they are left out, and the candidates of all processes.

    All processes call it together.
    """
    parts = gather_objects(candidates_of(step, groups))
    process_and_index = [(process, index) for process, part in enumerate(parts) for index in range(len(part))]
    # In an order that does not depend on which process has which question.
    process_and_index.sort(key=lambda pair: _order(parts[pair[0]][pair[1]]))
    candidates = [parts[process][index] for process, index in process_and_index]
    is_trained = dict(zip(process_and_index, selection.select(step, candidates, history), strict=True))
    this_process = rank()
    kept = [
        group if is_trained[this_process, index] else replace(group, weight=0.0, is_trained=False)
        for index, group in enumerate(groups)
    ]
    return kept, candidates


def candidates_of(step: int, groups: Sequence[RolloutGroup]) -> list[Candidate]:
    """Returns what a selection sees of each group."""
    return [
        Candidate(question_id, visit, _deviation([rollout.reward for rollout in group.rollouts]))
        for (question_id, visit), group in zip(visits_of(step, groups), groups, strict=True)
    ]


def selection_metrics(groups: Sequence[RolloutGroup]) -> dict[str, float]:
    """Returns how many questions a selection trains, and how often labels are true of these and of the others.

    Args:
        groups: The groups of all processes. Those without labels are counted, or all if there are none.
    """
    counted = [group for group in groups if not group.is_labelled] or groups
    metrics = {"train/selected_share": fmean(group.is_trained for group in counted)}
    for name, is_trained in (("selected", True), ("left_out", False)):
        truths = [
            group.label == group.question.provenance["truth"]
            for group in counted
            if group.is_trained is is_trained and group.label is not None and "truth" in group.question.provenance
        ]
        if truths:
            metrics[f"train/{name}_label_accuracy"] = fmean(truths)
    return metrics


def _order(candidate: Candidate) -> tuple[str, str]:
    return candidate.question_id, repr(candidate.visit)


def _deviation(rewards: Sequence[float]) -> float:
    scored = [reward for reward in rewards if math.isfinite(reward)]
    return pstdev(scored) if scored else 0.0
