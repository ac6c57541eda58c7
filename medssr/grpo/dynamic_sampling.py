"""Dynamic sampling (DAPO, arXiv 2503.14476): rolls out further questions to replace groups without signal.

A group has signal if the label rewards of its completions differ. A step with too few such groups rolls out as many
further questions as it lacks, for at most `dynamic_sampling_rounds` rounds. The further questions have an order of
their own (`StepBatch.further_items`), so the questions of a step depend only on seed, stage, step and rewards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from medssr.grpo.rollouts import ScoredGroups
from medssr.questions import Question
from medssr.training.step_loader import StepBatch


def with_further_groups(
    scored: ScoredGroups, batch: StepBatch[Question], roll_out: Callable[[Sequence[Question]], ScoredGroups]
) -> ScoredGroups:
    """Returns the scored rollouts of a step's questions with those of the further questions that are needed.

    Args:
        scored: The rollouts of the step's questions.
        batch: The questions, and further ones for each round of dynamic sampling.
        roll_out: Samples and scores the completions of the given questions.
    """
    for round_items in batch.further_items:
        num_missing = len(batch.items) - int(scored.has_signal.sum())
        # The same question in the same step would get the same completions again.
        used_ids = {group.question.id for group in scored.groups}
        questions = list({question.id: question for question in round_items if question.id not in used_ids}.values())
        if num_missing == 0 or not questions:
            break
        scored = scored + roll_out(questions[:num_missing])
    return scored


def indices_to_train(has_signal: Sequence[bool], num_groups: int) -> list[int]:
    """Returns the sorted indices of the groups to train on: those with signal, filled up with others if too few.

    Their number does not depend on the rounds of dynamic sampling, so the normaliser counts the same number of
    completions as without it.

    Args:
        has_signal: Whether each group that was rolled out has signal.
        num_groups: Number of groups of a step; at most `len(has_signal)`.

    Example:
        >>> indices_to_train([True, False, False, True], num_groups=3)
        [0, 1, 3]
    """
    by_signal = sorted(range(len(has_signal)), key=lambda index: not has_signal[index])
    return sorted(by_signal[:num_groups])
