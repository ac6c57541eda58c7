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
    num_groups = config.num_views * (config.minibatch_prompts or 0)
    size = num_groups // num_processes or len(scored.groups)
    starts = range(0, len(scored.groups), size)
    parts = [range(first, min(first + size, len(scored.groups))) for first in starts]
    return [_minibatch(scored.select(list(part)), advantages[part.start : part.stop], loss, config) for part in parts]


def _minibatch(scored: ScoredGroups, advantages: Tensor, loss: PolicyLoss, config: GRPOConfig) -> Minibatch:
    """Returns the minibatch of some groups, given their advantages."""
    has_signal, has_reward = scored.has_signal.tolist(), is_scored(scored.rewards).tolist()
    counted = [
        (sample, advantage, has_signal[group] or sample.is_distilled)
        for group, row in enumerate(zip(scored.samples, advantages.tolist(), has_reward, strict=True))
        for sample, advantage, is_known in zip(*row, strict=True)
        if is_known and _counts(sample)
    ]
    lengths = [sample.num_trained_tokens for sample, _, _ in counted]
    local_normalizer = loss.normalizer(lengths, config.max_new_tokens, [sample.weight for sample, _, _ in counted])
    num_distilled = sum(sample.num_trained_tokens for sample, _, _ in counted if sample.is_distilled)
    return Minibatch(
        [sample for sample, _, is_trained in counted if is_trained],
        [advantage for _, advantage, is_trained in counted if is_trained],
        # Data-parallel training averages gradients over W processes. If S_r is the sum of losses of process r and M its
        # divisor, (1/W) sum_r S_r / M is the step's S / N where M = N / W: the mean normaliser.
        # Not 0: a process without a scored completion must not divide the loss of its dummy by it.
        average_number(local_normalizer) if loss.is_global_mean else local_normalizer or 1.0,
        average_number(num_distilled) if config.distillation is not None else 0.0,
    )


def _counts(sample: Sample) -> bool:
    return sample.weight > 0 and sample.num_trained_tokens > 0
