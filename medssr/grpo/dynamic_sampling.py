"""Dynamic sampling (DAPO, arXiv 2503.14476): further questions in place of groups without signal.

A group has signal where the rewards for the label differ among its completions. A step without enough such groups rolls
out further questions, as many as it lacks, for at most `dynamic_sampling_rounds` rounds. They come from an order of
their own (`StepBatch.further_items`), so that what a step asks depends on seed, stage, step and rewards alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from medssr.grpo.rollouts import ScoredGroups
from medssr.questions import Question
from medssr.training.step_loader import StepBatch


def sample_groups(batch: StepBatch[Question], roll_out: Callable[[Sequence[Question]], ScoredGroups]) -> ScoredGroups:
    """Returns the rollouts of a step's questions, with those of the further questions that it took to find signal.

    Args:
        batch: The questions, and further ones for each round of dynamic sampling.
        roll_out: Samples and scores the completions of some questions.
    """
    scored = roll_out(batch.items)
    for round_items in batch.further_items:
        num_missing = len(batch.items) - int(scored.has_signal.sum())
        # A question that was asked in this step would get the same completions again.
        asked = {group.question.id for group in scored.groups}
        questions = list({question.id: question for question in round_items if question.id not in asked}.values())
        if num_missing == 0 or not questions:
            break
        scored = scored + roll_out(questions[:num_missing])
    return scored


def indices_to_train(has_signal: Sequence[bool], num_groups: int) -> list[int]:
    """Returns the indices of the groups that a step trains on, in order: with signal first, others where these are few.

    Their number does not depend on the rounds of dynamic sampling, so the normaliser counts as many completions as
    without.

    Args:
        has_signal: Of each group that was rolled out.
        num_groups: How many groups a step has; at most as many as there are.

    Example:
        >>> indices_to_train([True, False, False, True], num_groups=3)
        [0, 1, 3]
    """
    by_signal = sorted(range(len(has_signal)), key=lambda index: not has_signal[index])
    return sorted(by_signal[:num_groups])
