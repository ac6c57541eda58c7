"""Splits the completions of a step into minibatches, one per optimiser step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medssr.config import GRPOConfig
from medssr.grpo.advantages import is_scored
from medssr.grpo.losses import PolicyLoss
from medssr.grpo.rollouts import Sample, ScoredGroups
from medssr.utils.processes import average_number


@dataclass(frozen=True, slots=True)
class Minibatch:
    """The samples of one optimiser step.

    Attributes:
        samples: The completions that are trained on.
        advantages: The advantage of each sample.
        normalizer: The divisor of the sum of their losses; it counts completions with advantage 0 as well.
        num_distilled_tokens: The divisor of the sum of their divergences from a teacher.
    """

    samples: list[Sample]
    advantages: list[float]
    normalizer: float
    num_distilled_tokens: float = 0.0


def make_minibatches(
    scored: ScoredGroups,
    advantages: Tensor,
    loss: PolicyLoss,
    config: GRPOConfig,
    num_processes: int = 1,
) -> list[Minibatch]:
    """Returns the minibatches of a step, or of a process's shard of it, of `minibatch_prompts` questions each.

    Unscored completions are left out of both samples and normaliser, and so are questions of weight 0 and completions
    without a token that is trained. Groups without signal are left out of the samples but count in the normaliser:
    their loss is zero, and dropping them must not increase the weight of the others. Those of their completions that
    are drawn to a teacher stay.

    Args:
        scored: The groups to train on.
        advantages: `[num_groups, G]`, the advantages of their completions.
        loss: Computes the normaliser.
        config: The algorithm's settings.
        num_processes: Number of processes; each has the same number of a minibatch's groups.
    """
    samples, has_signal = scored.samples, scored.has_signal.tolist()
    has_reward = is_scored(scored.rewards).tolist()
    num_groups = config.num_views * (config.minibatch_prompts or 0)
    size = num_groups // num_processes or len(samples)
    minibatches = []
    for first in range(0, len(samples), size):
        indices = [
            (group, index)
            for group in range(first, min(first + size, len(samples)))
            for index in range(len(samples[group]))
            if has_reward[group][index] and _counts(samples[group][index])
        ]
        lengths = [samples[group][index].num_trained_tokens for group, index in indices]
        weights = [samples[group][index].weight for group, index in indices]
        distilled = {place for place in indices if samples[place[0]][place[1]].is_distilled}
        num_distilled = sum(samples[group][index].num_trained_tokens for group, index in distilled)
        trained = [place for place in indices if has_signal[place[0]] or place in distilled]
        local_normalizer = loss.normalizer(lengths, config.max_new_tokens, weights)
        minibatches.append(
            Minibatch(
                [samples[group][index] for group, index in trained],
                [advantages[group, index].item() for group, index in trained],
                # Data-parallel training averages gradients over W processes. If S_r is the sum of losses of process r
                # and M its divisor, (1/W) sum_r S_r / M is the step's S / N where M = N / W: the mean normaliser.
                # Not 0: a process without a scored completion must not divide the loss of its dummy by it.
                average_number(local_normalizer) if loss.is_global_mean else local_normalizer or 1.0,
                average_number(num_distilled) if config.distillation is not None else 0.0,
            )
        )
    return minibatches


def _counts(sample: Sample) -> bool:
    return sample.weight > 0 and sample.num_trained_tokens > 0
