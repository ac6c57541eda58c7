"""The policy losses, one class each: the loss of a token, and how the token losses of a step are averaged.

The configuration chooses a loss by `_target_`; the class has its parameters. All map `LossInputs` to `LossOutputs`.
`docs/algorithms.md` compares all formulas.

Loss of the step = sum over rows and tokens of row weight * token loss, divided by the step's normaliser. The weight of
a row depends only on its length and on the weight of its question, and the normaliser is fixed before the first
micro-batch runs, so the losses of micro-batches add up to the step's loss however rows are split, ordered or padded.

A question of weight w counts as w copies of it, in the sum and in the normaliser; a token that a mask leaves out counts
in neither, as if the completion did not have it.

Importing this module does not import torch, so that a configuration's loss is checked before anything is loaded.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

from medssr.errors import InputError, require

if TYPE_CHECKING:
    from torch import Tensor

# exp(20) is 5e8. The bound keeps a step finite if a sampled token is that unlikely under the other policy.
MAX_LOG_RATIO = 20.0


@dataclass(frozen=True, slots=True)
class LossInputs:
    """The inputs of a policy loss.

    Attributes:
        per_token_logps: `[B, T]`, by the current policy.
        old_per_token_logps: `[B, T]`, by the policy with which the step begins; without gradient.
        advantages: `[B]`, or `[B, T]` where each token has one.
        completion_mask: `[B, T]`, 1 for tokens that count. Values at other positions have no effect.
        question_weights: `[B]`, the weight of each row's question; None for 1.
    """

    per_token_logps: Tensor
    old_per_token_logps: Tensor
    advantages: Tensor
    completion_mask: Tensor
    question_weights: Tensor | None = None


@dataclass(frozen=True, slots=True)
class LossOutputs:
    """The outputs of a policy loss.

    Attributes:
        per_token_loss: `[B, T]`; 0 or finite at positions without a token.
        is_clipped: `[B, T]` for each bound, by the name of its metric, e.g. `clip_high_share`: whether it clipped the
            token.
    """

    per_token_loss: Tensor
    is_clipped: Mapping[str, Tensor] = field(default_factory=dict)


class Aggregation(Enum):
    """What the loss of a step is averaged over."""

    tokens = "tokens"
    sequences = "sequences"
    # Sequences counted with the maximum length, so that the normaliser does not depend on the completions.
    longest_sequences = "longest_sequences"


class PolicyLoss(ABC):
    """The base of all policy losses.

    A subclass defines its parameters, `token_loss` and `aggregation`; where it needs them, `pooled_log_ratio` (a ratio
    for each sequence) and `is_global_mean`. A loss that needs more overrides `__call__`.
    """

    aggregation: ClassVar[Aggregation] = Aggregation.tokens
    # Whether the mean is over the step of all processes. False: each process averages over its local completions.
    is_global_mean: ClassVar[bool] = True

    def __call__(self, inputs: LossInputs) -> LossOutputs:
        """Returns the loss of each token, before importance weights and the KL term."""
        # Padding is replaced by 0 and not only masked in the sums: the gradient of an overflow would be 0 * inf = NaN.
        is_token = inputs.completion_mask.bool()
        logps = inputs.per_token_logps.where(is_token, 0.0)
        log_ratio = (inputs.per_token_logps - inputs.old_per_token_logps).where(is_token, 0.0)
        log_ratio = self.pooled_log_ratio(log_ratio, inputs.completion_mask)
        ratio = log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
        advantages = inputs.advantages if inputs.advantages.dim() == 2 else inputs.advantages.unsqueeze(1)
        return self.token_loss(logps, ratio, advantages)

    @abstractmethod
    def token_loss(self, logps: Tensor, ratio: Tensor, advantages: Tensor) -> LossOutputs:
        """Returns the loss of each token.

        Args:
            logps: `[B, T]`.
            ratio: `[B, T]`, or `[B, 1]` where a sequence has one: pi / pi_old.
            advantages: `[B, 1]` or `[B, T]`.
        """

    def pooled_log_ratio(self, log_ratio: Tensor, completion_mask: Tensor) -> Tensor:
        """Returns the log-ratio that the loss uses, given the log-ratio of each token, `[B, T]`."""
        return log_ratio

    def row_weights(self, completion_mask: Tensor) -> Tensor:
        """Returns the weight of each row's tokens, `[B, 1]`: 1 / length for a mean over sequences, else 1.

        Args:
            completion_mask: `[B, T]`, 1 for tokens that count; a row without tokens has no effect.

        Example:
            >>> import torch
            >>> GRPO(0.2, 0.2, None).row_weights(torch.tensor([[1.0, 1.0], [1.0, 0.0]])).tolist()
            [[0.5], [1.0]]
        """
        lengths = completion_mask.sum(dim=1, keepdim=True)
        return (
            1 / lengths.clamp(min=1) if self.aggregation is Aggregation.sequences else lengths.new_ones(lengths.shape)
        )

    def normalizer(
        self, lengths: Sequence[int], max_new_tokens: int, question_weights: Sequence[float] | None = None
    ) -> float:
        """Returns the normaliser: the divisor of the weighted sum of token losses.

        Args:
            lengths: Completion tokens that count of each scored sequence of the optimiser step, sequences with
                advantage 0 included; sequences of length 0 do not count.
            max_new_tokens: The maximum length of a completion.
            question_weights: The weight of each sequence's question; None for 1.

        Example:
            >>> [kind(0.2, 0.28, None).normalizer([3, 1, 0], max_new_tokens=8) for kind in (DAPO, GRPO, DrGRPO)]
            [4.0, 2.0, 16.0]
            >>> DAPO(0.2, 0.28, None).normalizer([3, 1], max_new_tokens=8, question_weights=[2.0, 0.5])
            6.5
        """
        weights = [1.0] * len(lengths) if question_weights is None else question_weights
        if self.aggregation is Aggregation.tokens:
            return math.fsum(weight * length for weight, length in zip(weights, lengths, strict=True))
        num_sequences = math.fsum(weight for weight, length in zip(weights, lengths, strict=True) if length > 0)
        return num_sequences * (max_new_tokens if self.aggregation is Aggregation.longest_sequences else 1)


class ClippedLoss(PolicyLoss):
    """The base of the losses with PPO's clip, DAPO's higher upper bound and the dual clip.

    l = -min(r A, clip(r, 1 - epsilon, 1 + epsilon_high) A), and at most -c A where A < 0 and c = dual_clip
    (arXiv 1707.06347; arXiv 2503.14476; arXiv 1912.09729, equation 5).

    Args:
        epsilon: The lower clip bound is 1 - epsilon.
        epsilon_high: The upper clip bound is 1 + epsilon_high.
        dual_clip: c > 1 + epsilon_high, or None.

    Raises:
        InputError: When a bound is out of range.

    Example:
        >>> import torch
        >>> ratio, advantages = torch.tensor([[1.5, 1.5, 4.0]]), torch.tensor([[1.0, -1.0, -1.0]])
        >>> outputs = DAPO(epsilon=0.2, epsilon_high=0.28, dual_clip=3.0).token_loss(ratio.log(), ratio, advantages)
        >>> [round(loss, 2) for loss in outputs.per_token_loss[0].tolist()]
        [-1.28, 1.5, 3.0]
    """

    def __init__(self, epsilon: float, epsilon_high: float, dual_clip: float | None) -> None:
        _check_bounds(epsilon, epsilon_high)
        self.epsilon, self.epsilon_high, self.dual_clip = epsilon, epsilon_high, dual_clip
        if dual_clip is None:
            return
        _check_number("dual_clip", dual_clip)
        if not dual_clip > 1 + epsilon_high:
            raise InputError(
                f"grpo.loss.dual_clip: {dual_clip}; above 1 + grpo.loss.epsilon_high ({1 + epsilon_high:g}), or null."
            )

    def token_loss(self, logps: Tensor, ratio: Tensor, advantages: Tensor) -> LossOutputs:
        """Returns the clipped loss of each token."""
        clipped = ratio.clamp(1 - self.epsilon, 1 + self.epsilon_high)
        gain = (ratio * advantages).minimum(clipped * advantages)
        detached = ratio.detach()
        # The minimum selects the clipped term only where it is smaller.
        is_clipped = {
            "clip_low_share": (detached < 1 - self.epsilon) & (advantages < 0),
            "clip_high_share": (detached > 1 + self.epsilon_high) & (advantages > 0),
        }
        if self.dual_clip is not None:
            gain = gain.maximum(self.dual_clip * advantages).where(advantages < 0, gain)
            is_clipped["dual_clip_share"] = (detached > self.dual_clip) & (advantages < 0)
        return LossOutputs(-gain, is_clipped)


class DAPO(ClippedLoss):
    """The clipped loss as a mean over the tokens of the step (DAPO, arXiv 2503.14476)."""


class GRPO(ClippedLoss):
    """The clipped loss as a mean over sequences of their means over tokens (DeepSeekMath, arXiv 2402.03300)."""

    aggregation = Aggregation.sequences


class BNPO(ClippedLoss):
    """The clipped loss as a mean over the tokens of one process, as TRL names it; with one process it is DAPO."""

    is_global_mean = False


class DrGRPO(ClippedLoss):
    """The clipped loss divided by a constant: sequences x longest length (Dr. GRPO, arXiv 2503.20783)."""

    aggregation = Aggregation.longest_sequences


class GSPO(ClippedLoss):
    """The clipped loss with the sequence ratio (pi / pi_old)^(1 / length), a mean over sequences (arXiv 2507.18071)."""

    aggregation = Aggregation.sequences

    def pooled_log_ratio(self, log_ratio: Tensor, completion_mask: Tensor) -> Tensor:
        """Returns the mean log-ratio of each row's tokens, `[B, 1]`; all tokens of a row get the same gradient.

        Example:
            >>> import torch
            >>> log_ratio, mask = torch.tensor([[0.5, 0.25, 0.0]]), torch.tensor([[1.0, 1.0, 0.0]])
            >>> GSPO(3e-4, 4e-4, None).pooled_log_ratio(log_ratio, mask).tolist()
            [[0.375]]
        """
        return log_ratio.sum(dim=1, keepdim=True) / completion_mask.sum(dim=1, keepdim=True).clamp(min=1)


class CISPO(PolicyLoss):
    """l = -sg[clip(r, 1 - epsilon, 1 + epsilon_high)] A log pi: the weight is clipped, but no token loses its gradient.

    CISPO of MiniMax-M1 (arXiv 2506.13585), which sets epsilon so large that only the upper bound has an effect.

    Args:
        epsilon: The smallest weight is 1 - epsilon.
        epsilon_high: The largest weight is 1 + epsilon_high.

    Raises:
        InputError: When a bound is out of range.

    Example:
        >>> import torch
        >>> logps, ratio, advantages = torch.tensor([[-2.0]]), torch.tensor([[1.5]]), torch.tensor([[1.0]])
        >>> CISPO(epsilon=0.2, epsilon_high=0.25).token_loss(logps, ratio, advantages).per_token_loss.item()
        2.5
    """

    def __init__(self, epsilon: float, epsilon_high: float) -> None:
        _check_bounds(epsilon, epsilon_high)
        self.epsilon, self.epsilon_high = epsilon, epsilon_high

    def token_loss(self, logps: Tensor, ratio: Tensor, advantages: Tensor) -> LossOutputs:
        """Returns the weighted log-prob of each token."""
        ratio = ratio.detach()
        weight = ratio.clamp(1 - self.epsilon, 1 + self.epsilon_high)
        is_clipped = {
            "clip_low_share": ratio < 1 - self.epsilon,
            "clip_high_share": ratio > 1 + self.epsilon_high,
        }
        return LossOutputs(-weight * advantages * logps, is_clipped)


class SAPO(PolicyLoss):
    """l = -4 / tau sigmoid(tau (r - 1)) A: a soft gate in place of the clip (SAPO, arXiv 2511.20347).

    At r = 1 the gradient by the log-prob is -A for every tau, as for the clipped loss. It is a mean over sequences.

    Args:
        temperature_positive: tau where A > 0.
        temperature_negative: tau where A <= 0.

    Raises:
        InputError: When a temperature is not positive.

    Example:
        >>> import torch
        >>> ratio, advantages = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, -1.0]])
        >>> SAPO(1.0, 2.0).token_loss(ratio.log(), ratio, advantages).per_token_loss.tolist()
        [[-2.0, 1.0]]
    """

    aggregation = Aggregation.sequences

    def __init__(self, temperature_positive: float, temperature_negative: float) -> None:
        for name, temperature in (("positive", temperature_positive), ("negative", temperature_negative)):
            _check_number(f"temperature_{name}", temperature)
            require(temperature > 0, f"grpo.loss.temperature_{name}", f"{temperature}; above 0.")
        self.temperature_positive, self.temperature_negative = temperature_positive, temperature_negative

    def token_loss(self, logps: Tensor, ratio: Tensor, advantages: Tensor) -> LossOutputs:
        """Returns the negative gated gain of each token."""
        import torch

        temperature = torch.where(advantages > 0, self.temperature_positive, self.temperature_negative).to(ratio.dtype)
        return LossOutputs(-(temperature * (ratio - 1)).sigmoid() * 4 / temperature * advantages)


def summed_loss(
    policy_loss: PolicyLoss,
    inputs: LossInputs,
    normalizer: float,
    importance_weights: Tensor | None = None,
    regularisation: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns the contribution of some rows to the loss of a step, a scalar, and to its metrics.

    L = 1/N sum_i u_i w_i sum_t [ rho_t l_t + beta k_t - c H_t ]: the weight of a token does not depend on how the step
    is split.

    Args:
        policy_loss: Computes l_t, and w_i, the weight of row i by its length.
        inputs: The rows, with u_i, the weight of the question of row i.
        normalizer: N, the normaliser of the whole step.
        importance_weights: `[B, T]`, rho_t; None for 1. They do not weight the regularisation.
        regularisation: `[B, T]`, beta k_t - c H_t, of KL and entropy; None for 0.

    Returns:
        The loss, and for each bound the number of clipped tokens divided by N.

    Example:
        >>> import torch
        >>> logps, mask = torch.tensor([[-1.0, -2.0], [-1.0, 0.0]]), torch.tensor([[1.0, 1.0], [1.0, 0.0]])
        >>> inputs = LossInputs(logps, logps, torch.tensor([0.5, -0.25]), mask)
        >>> for kind in (DAPO, GRPO, DrGRPO):  # the ratio is 1 everywhere, so a token's loss is -advantage
        ...     policy_loss = kind(0.2, 0.28, None)
        ...     loss, _ = summed_loss(policy_loss, inputs, policy_loss.normalizer([2, 1], max_new_tokens=2))
        ...     print(kind.__name__, loss.item())
        DAPO -0.25
        GRPO -0.125
        DrGRPO -0.1875
    """
    mask, weights = inputs.completion_mask, policy_loss.row_weights(inputs.completion_mask)
    if inputs.question_weights is not None:
        weights = weights * inputs.question_weights.unsqueeze(1)
    outputs = policy_loss(inputs)
    per_token_loss = outputs.per_token_loss
    if importance_weights is not None:
        per_token_loss = per_token_loss * importance_weights.where(mask.bool(), 1.0)
    if regularisation is not None:
        per_token_loss = per_token_loss + regularisation
    loss = masked_sum(per_token_loss * weights, mask) / normalizer
    dtype = inputs.per_token_logps.dtype
    return loss, {name: masked_sum(cut.to(dtype), mask) / normalizer for name, cut in outputs.is_clipped.items()}


def masked_sum(values: Tensor, completion_mask: Tensor) -> Tensor:
    """Returns the sum over the tokens that count, a scalar."""
    return values.where(completion_mask.bool(), 0).sum()


def _check_number(name: str, value: object) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    require(is_number, f"grpo.loss.{name}", f"{value!r}; expected a number.")


def _check_bounds(epsilon: float, epsilon_high: float) -> None:
    _check_number("epsilon", epsilon)
    _check_number("epsilon_high", epsilon_high)
    require(0 < epsilon < 1, "grpo.loss.epsilon", f"{epsilon}; between 0 and 1.")
    require(epsilon_high > 0, "grpo.loss.epsilon_high", f"{epsilon_high}; above 0.")
