"""A step's completions as the rows of its optimiser steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medssr.config import GRPOConfig
from medssr.grpo.advantages import has_signal, is_scored
from medssr.grpo.losses import normalizer_across_processes, step_normalizer
from medssr.grpo.records import RolloutGroup


@dataclass(slots=True)
class Sample:
    """One completion with its prompt, and what is known of its tokens by now.

    Attributes:
        question_id: What it answers.
        prompt_ids: The prompt.
        completion_ids: The sampled tokens, T of them.
        engine_logps: `[T]`, by the rollout engine, on the CPU.
        old_logps: `[T]`, by the trainer with the weights that sampled; None until they are known.
        ref_logps: `[T]`, by the reference policy; None until they are known, or where nobody asks.
    """

    question_id: str
    prompt_ids: list[int]
    completion_ids: list[int]
    engine_logps: Tensor
    old_logps: Tensor | None = None
    ref_logps: Tensor | None = None

    @property
    def num_tokens(self) -> int:
        """Prompt and completion."""
        return len(self.prompt_ids) + len(self.completion_ids)


@dataclass(frozen=True, slots=True)
class Minibatch:
    """What one optimiser step trains on.

    Attributes:
        rows: The completions that have a gradient.
        advantages: One for each of them.
        normalizer: What the sum of their losses is divided by; it counts completions without gradient as well.
    """

    rows: list[Sample]
    advantages: list[float]
    normalizer: float


def known(values: Iterable[Tensor | None]) -> list[Tensor]:
    """Returns the values, all of which must be there by now."""
    found = []
    for value in values:
        assert value is not None, "the log-probs of this row are not known yet"
        found.append(value)
    return found


def training_rows(groups: Sequence[RolloutGroup]) -> list[list[Sample]]:
    """Returns a row for each completion of each group."""
    return [
        [
            Sample(
                group.question.id,
                group.prompt_ids,
                rollout.completion.token_ids,
                torch.tensor(rollout.completion.logps),
            )
            for rollout in group.rollouts
        ]
        for group in groups
    ]


def make_minibatches(
    rows: Sequence[Sequence[Sample]],
    rewards: Tensor,
    advantages: Tensor,
    config: GRPOConfig,
    num_processes: int = 1,
) -> list[Minibatch]:
    """Returns the minibatches of a step, or of a process's share of it, `num_prompts_per_update` groups in each.

    Completions that could not be scored leave rows and normaliser. Groups without signal leave the rows alone: their
    loss is zero, and dropping them must not enlarge the others.

    Args:
        rows: `[num_groups][G]`.
        rewards: `[num_groups, G]`, NaN for completions that could not be scored.
        advantages: `[num_groups, G]`.
        config: The algorithm's settings.
        num_processes: That share the groups of each minibatch equally.
    """
    scored, kept = is_scored(rewards).tolist(), has_signal(rewards).tolist()
    size = config.num_prompts_per_update // num_processes if config.num_prompts_per_update else len(rows)
    minibatches = []
    for first in range(0, len(rows), size):
        places = [
            (group, place)
            for group in range(first, min(first + size, len(rows)))
            for place, has_reward in enumerate(scored[group])
            if has_reward
        ]
        lengths = [len(rows[group][place].completion_ids) for group, place in places]
        trained = [(group, place) for group, place in places if kept[group]]
        minibatches.append(
            Minibatch(
                [rows[group][place] for group, place in trained],
                [advantages[group, place].item() for group, place in trained],
                normalizer_across_processes(
                    step_normalizer(lengths, config.loss_type, config.max_new_tokens), config.loss_type
                ),
            )
        )
    return minibatches
