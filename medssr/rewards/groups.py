"""Rewards of a group: such a reward sees all completions of a question together.

It may compare their answers, weigh the question, leave tokens out of the loss and shift advantages. It is named in the
configuration like a reward of one completion, and both are summed.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeGuard, runtime_checkable

from medssr.answers import Choice
from medssr.engines.types import Completion
from medssr.questions import Question
from medssr.rewards.history import Visit
from medssr.rewards.scoring import FaultKind, Reward, RewardResult, failed, raised, result_of, traits_of, with_location


class TokenStatistics(NamedTuple):
    """The distribution of the policy with which the step begins, at each token of a completion.

    Arrays and not tuples: those of 1,024 completions of 4,096 tokens have 50 MB in place of 0.4 GB.

    Attributes:
        logps: `[T]`, the log-prob of the token, in nats.
        entropies: `[T]`, the entropy of the distribution, in nats.
        mean_logps: `[T]`, the mean of the log-probs of all tokens of the vocabulary, in nats.
    """

    logps: array[float]
    entropies: array[float]
    mean_logps: array[float]


@dataclass(frozen=True, slots=True)
class AnswerProbabilities:
    """The policy's mean probability of the tokens that name a question's label, 0 to 1.

    Attributes:
        after_reasoning: `[G]`, in place of the answer of each completion; None for one without an answer.
        without_reasoning: Right behind the prompt.
    """

    after_reasoning: Sequence[float | None]
    without_reasoning: float


@dataclass(frozen=True, slots=True)
class GroupInput:
    """The input of a reward of a group: a question with its G completions.

    Attributes:
        question: The question as it was asked.
        completions: `[G]`.
        choices: `[G]`, the extracted answer of each completion.
        history: Its earlier visits, the first one first.
        statistics: `[G]`, for rewards with `needs_statistics`; else None.
        answer_tokens: `[G]`, for rewards with `needs_answer_tokens` the indices of the tokens of each statement of the
            answer, the last statement first, None for a completion without an answer; else None.
        peer_letters: `[N]`, for rewards with `needs_peers` the answers of another view of the question or of a teacher,
            in the letters of this question, None for one that cannot be read; else None.
        answer_probabilities: For rewards with `needs_answer_probabilities`, where the question has a label; else None.
    """

    question: Question
    completions: Sequence[Completion]
    choices: Sequence[Choice]
    history: Sequence[Visit] = ()
    statistics: Sequence[TokenStatistics] | None = None
    answer_tokens: Sequence[tuple[range, ...] | None] | None = None
    peer_letters: Sequence[str | None] | None = None
    answer_probabilities: AnswerProbabilities | None = None

    @property
    def letters(self) -> list[str | None]:
        """`[G]`, the answer of each completion; None for a truncated one, even if an answer could be extracted."""
        pairs = zip(self.completions, self.choices, strict=True)
        return [None if completion.is_truncated else choice.letter for completion, choice in pairs]


@dataclass(frozen=True, slots=True)
class GroupScore:
    """What a reward returns for a group.

    Attributes:
        rewards: `[G]`, unweighted; None for a completion that is not scored, which is not trained.
        question_weight: At least 0; the question counts as that many copies of it.
        token_masks: `[G]`, whether each token of a completion is trained, None for all of them; None for no mask.
        advantage_shifts: `[G]`, added to the advantages, times the weight of the reward; None for 0.
        label: The letter that the answers were compared with, for metrics and the history; None if there is none.
    """

    rewards: Sequence[float | None]
    question_weight: float = 1.0
    token_masks: Sequence[Sequence[bool] | None] | None = None
    advantage_shifts: Sequence[float] | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class GroupResult:
    """The checked result of one reward for one group; the fields are those of `GroupScore`."""

    results: list[RewardResult]
    question_weight: float = 1.0
    token_masks: Sequence[Sequence[bool] | None] | None = None
    advantage_shifts: Sequence[float] | None = None
    label: str | None = None


@runtime_checkable
class GroupReward(Protocol):
    """Scores the completions of a question together. Its traits are the attributes of `scoring.RewardTraits`."""

    weight: float

    def score_group(self, group: GroupInput) -> GroupScore:
        """Returns the rewards of a group, and what else it decides about the question."""
        ...


def is_group_reward(reward: Reward | GroupReward) -> TypeGuard[GroupReward]:
    """Returns whether a reward sees groups, and not one completion at a time."""
    return traits_of(reward).sees_groups


def group_result(result: RewardResult | GroupResult, group: GroupInput) -> GroupResult:
    """Returns the result for a group; a fault of the whole group is one for each completion."""
    return GroupResult([result] * len(group.completions)) if isinstance(result, RewardResult) else result


def score_group(reward: GroupReward, group: GroupInput) -> GroupResult:
    """Returns the result of a reward for a group, called in this process; a fault for each completion if it fails."""
    try:
        return group_result_of(reward.score_group(group), group, reward)
    except Exception as error:
        return GroupResult([raised(error, reward)] * len(group.completions))


def group_result_of(score: object, group: GroupInput, reward: GroupReward) -> GroupResult:
    """Returns the result for what a reward returned; a fault for each completion if it is not what was asked for."""
    problem = _problem(score, group)
    if problem is not None:
        fault = with_location(failed(FaultKind.wrong_type, problem), reward)
        return GroupResult([fault] * len(group.completions))
    assert isinstance(score, GroupScore)
    return GroupResult(
        [with_location(result_of(value), reward) for value in score.rewards],
        float(score.question_weight),
        score.token_masks,
        score.advantage_shifts,
        score.label,
    )


def _problem(score: object, group: GroupInput) -> str | None:
    """Returns what is wrong with the return value of a reward for a group; None if nothing is."""
    if not isinstance(score, GroupScore):
        return f"returned {type(score).__name__}, expected a GroupScore"
    number = len(group.completions)
    for name in ("rewards", "token_masks", "advantage_shifts"):
        values = getattr(score, name)
        if values is not None and len(values) != number:
            return f"returned {len(values)} {name} for {number} completions"
    if not (math.isfinite(score.question_weight) and score.question_weight >= 0):
        return f"returned the question_weight {score.question_weight}, expected a number of at least 0"
    if not all(math.isfinite(shift) for shift in score.advantage_shifts or ()):
        return f"returned the advantage_shifts {score.advantage_shifts}, expected finite numbers"
    if score.label is not None and score.label not in group.question.options:
        return f"returned the label {score.label!r}, expected a letter of {', '.join(group.question.options)}"
    for mask, completion in zip(score.token_masks or (), group.completions, strict=bool(score.token_masks)):
        if mask is not None and len(mask) != len(completion.token_ids):
            return f"returned a mask of {len(mask)} tokens for a completion of {len(completion.token_ids)}"
    return None
