"""Records of generation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from medssr.answers import Choice
from medssr.questions import Question
from medssr.rewards.judgements import Judgement


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn.

    Attributes:
        temperature: Divides the logits; 0 takes the likeliest token each time.
        max_new_tokens: Completions are cut here.
        top_p: Nucleus: the smallest set of tokens with this mass stays; 1 keeps all.
        top_k: The k likeliest tokens stay; 0 keeps all.
        has_logps: Whether log-probabilities are wanted; an engine may leave them out otherwise, where they take time.
    """

    temperature: float
    max_new_tokens: int
    top_p: float = 1.0
    top_k: int = 0
    has_logps: bool = True


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled answer.

    Attributes:
        token_ids: The sampled tokens, the end-of-sequence token included.
        logps: Log-probability of each of them under the distribution that they were drawn from; may be empty where
            the sampling does not ask for them.
        text: The tokens as text, control tokens left out.
        is_truncated: Whether `max_new_tokens` cut it before an end-of-sequence token.
    """

    token_ids: list[int]
    logps: list[float]
    text: str
    is_truncated: bool


@dataclass(frozen=True, slots=True)
class Rollout:
    """A completion with the answer read from it.

    Attributes:
        completion: What was sampled.
        choice: The answer.
        reward: The weighted sum of its rewards, NaN where it could not be scored.
        judgements: What each reward said of it, by name.
    """

    completion: Completion
    choice: Choice
    reward: float
    judgements: Mapping[str, Judgement] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RolloutGroup:
    """All rollouts of one prompt."""

    question: Question
    prompt_ids: list[int]
    rollouts: list[Rollout]


@dataclass(frozen=True, slots=True)
class JudgedStep:
    """A training step as callbacks see it.

    Attributes:
        step: Its number.
        groups: All rollouts.
        rewards: `[num_groups][G]`, with length and KL taken off; NaN where a completion was not scored or left out.
        advantages: `[num_groups][G]`.
    """

    step: int
    groups: list[RolloutGroup]
    rewards: list[list[float]]
    advantages: list[list[float]]
