"""Adds the rewards of groups to the rollouts of a step, with the weights, masks and shifts that they decide."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor

from medssr.answers import Choice, extract_choice
from medssr.engines.types import Completion
from medssr.grpo.advantages import weighted_sums
from medssr.grpo.answer_probability import answer_probabilities
from medssr.grpo.answer_statements import answer_statements
from medssr.grpo.rollouts import RolloutGroup, Sample
from medssr.grpo.teachers import Distillation
from medssr.models.policy import Policy
from medssr.questions import Question
from medssr.rewards.groups import (
    AnswerProbabilities,
    GroupInput,
    GroupResult,
    TokenStatistics,
    group_result,
    is_group_reward,
    score_group,
)
from medssr.rewards.history import QuestionHistory, Visit, visit_of
from medssr.rewards.scoring import BackgroundReward, Reward, traits_of

LogpsOf = Callable[[list[Sample]], list[Tensor]]


class GroupScoring:
    """Computes the rewards of groups of a step, and adds them to those of single completions.

    A reward in other processes that needs nothing of the whole step begins with a group when its completions are
    there, the others once all are. The weights of several rewards for a question are multiplied, their masks joined,
    and their shifts added.

    Args:
        rewards: All rewards by name.
        policy: Decodes tokens.
        history: The earlier visits of the questions.
        has_reward: Returns whether a question has the reward of a name.
    """

    def __init__(
        self,
        rewards: Mapping[str, Reward],
        policy: Policy,
        history: QuestionHistory,
        has_reward: Callable[[Question, str], bool] = lambda question, name: True,
    ) -> None:
        self._all_rewards = rewards
        self._rewards = {name: reward for name, reward in rewards.items() if is_group_reward(reward)}
        self._policy = policy
        self._history = history
        self._has_reward = has_reward
        self._traits = {name: traits_of(reward) for name, reward in self._rewards.items()}
        self._needs_tokens = any(
            traits.needs_answer_tokens or traits.needs_answer_probabilities for traits in self._traits.values()
        )
        self._inputs: dict[int, GroupInput] = {}
        self._background = {
            name: reward for name, reward in self._rewards.items() if isinstance(reward, BackgroundReward)
        }
        for reward in self._background.values():
            reward.begin()

    def add(self, index: int, question: Question, completions: Sequence[Completion], choices: Sequence[Choice]) -> None:
        """Adds a group, and begins to score it where that is possible.

        Args:
            index: Its place in the step; groups may come in any order.
            question: Its question.
            completions: `[G]`.
            choices: `[G]`, their answers.
        """
        if not self._rewards:
            return
        tokens = answer_tokens(question, completions, choices, self._policy) if self._needs_tokens else None
        history = self._history[question.id]
        group = self._inputs[index] = GroupInput(question, completions, choices, history, None, tokens)
        self._start(index, group, is_whole=False)

    def results(
        self, groups: Sequence[RolloutGroup], statistics: Sequence[TokenStatistics] | None, logps_of: LogpsOf
    ) -> list[RolloutGroup]:
        """Returns the groups with the results of all rewards.

        Args:
            groups: P groups of G rollouts, scored by the rewards of single completions.
            statistics: Of the P * G rollouts in their order; None if no reward needs them.
            logps_of: Returns the policy's log-probs of the completion tokens of samples.
        """
        if not self._rewards:
            return [_with_results(group, self._all_rewards, {}) for group in groups]
        in_order = None if statistics is None else iter(statistics)
        probabilities = self._answer_probabilities(groups, logps_of)
        for index, group in enumerate(groups):
            rows = None if in_order is None else list(islice(in_order, len(group.rollouts)))
            self._inputs[index] = replace(
                self._inputs[index],
                statistics=rows,
                peer_letters=group.peer_letters,
                answer_probabilities=probabilities[index],
            )
            self._start(index, self._inputs[index], is_whole=True)
        results = [self._results_here(self._inputs[index]) for index in range(len(groups))]
        for name, reward in self._background.items():
            for index, result in reward.results().items():
                results[index][name] = group_result(result, self._inputs[index])
        return [
            _with_results(group, self._all_rewards, by_name) for group, by_name in zip(groups, results, strict=True)
        ]

    def _answer_probabilities(
        self, groups: Sequence[RolloutGroup], logps_of: LogpsOf
    ) -> Sequence[AnswerProbabilities | None]:
        """Returns the probabilities of each group's label; None where no reward reads them."""
        readers = [name for name, traits in self._traits.items() if traits.needs_answer_probabilities]
        if not readers:
            return [None] * len(groups)
        is_read = [any(self._has_reward(group.question, name) for name in readers) for group in groups]
        tokens = [self._inputs[index].answer_tokens or [] for index in range(len(groups))]
        return answer_probabilities(groups, is_read, tokens, *_texts(self._policy), logps_of)

    def _start(self, index: int, group: GroupInput, *, is_whole: bool) -> None:
        """Gives a group to the rewards in other processes that need the whole step first, or to those that do not."""
        for name, reward in self._background.items():
            traits = self._traits[name]
            needs_whole = traits.needs_statistics or traits.needs_peers or traits.needs_answer_probabilities
            is_due = needs_whole == is_whole
            if is_due and self._has_reward(group.question, name):
                reward.add(index, group)

    def _results_here(self, group: GroupInput) -> dict[str, GroupResult]:
        """Returns the results of the rewards in this process."""
        return {
            name: score_group(reward, group)
            for name, reward in self._rewards.items()
            if name not in self._background and self._has_reward(group.question, name)
        }


def _with_results(
    group: RolloutGroup, rewards: Mapping[str, Reward], by_name: Mapping[str, GroupResult]
) -> RolloutGroup:
    """Returns a group with the results of its rewards of groups, by name."""
    names = [name for name in rewards if name in by_name or name in group.rollouts[0].results]
    rollouts = []
    for index, rollout in enumerate(group.rollouts):
        result_of = {**rollout.results, **{name: result.results[index] for name, result in by_name.items()}}
        results = {name: result_of[name] for name in names}
        reward, label_reward = weighted_sums(rewards, results)
        shifts = [
            rewards[name].weight * result.advantage_shifts[index]
            for name, result in by_name.items()
            if result.advantage_shifts is not None
        ]
        masks = [result.token_masks[index] for result in by_name.values() if result.token_masks is not None]
        rollouts.append(
            replace(
                rollout,
                reward=reward,
                label_reward=label_reward,
                results=results,
                advantage_shift=math.fsum(shifts),
                token_mask=joint_mask([mask for mask in masks if mask is not None]),
            )
        )
    reads_label = not all(traits_of(rewards[name]).is_label_free for name in names)
    voted = next((result.label for result in by_name.values() if result.label is not None), None)
    return replace(
        group,
        rollouts=rollouts,
        weight=math.prod(result.question_weight for result in by_name.values()),
        label=group.question.answer if reads_label else voted,
        is_labelled=reads_label and group.question.answer is not None,
    )


def joint_mask(masks: Sequence[Sequence[bool]]) -> tuple[bool, ...] | None:
    """Returns the mask of the tokens that no mask leaves out; None if there is no mask.

    Example:
        >>> joint_mask([[True, True, False], [True, False, True]])
        (True, False, False)
    """
    return tuple(map(all, zip(*masks, strict=True))) if masks else None


def _texts(policy: Policy) -> tuple[Callable[[str], list[int]], Callable[[list[int]], str]]:
    """Returns what encodes texts and what decodes tokens, both without special tokens."""

    def encode(text: str) -> list[int]:
        return list(policy.tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(token_ids: list[int]) -> str:
        return str(policy.tokenizer.decode(token_ids, skip_special_tokens=True))

    return encode, decode


def answer_tokens(
    question: Question, completions: Sequence[Completion], choices: Sequence[Choice], policy: Policy
) -> list[tuple[range, ...] | None]:
    """Returns the tokens of each completion that state its answer, the last statement first; None without an answer."""

    def reads(token_ids: Sequence[int]) -> str | None:
        text = policy.tokenizer.decode(list(token_ids), skip_special_tokens=True)
        return extract_choice(text, question.options).letter

    return [
        answer_statements(completion.token_ids, choice.letter, reads)
        if choice.letter is not None and not completion.is_truncated
        else None
        for completion, choice in zip(completions, choices, strict=True)
    ]


def weigh_samples(groups: Sequence[RolloutGroup], samples: Sequence[Sequence[Sample]]) -> None:
    """Gives samples the weights of their questions and the masks of their tokens."""
    for group, row in zip(groups, samples, strict=True):
        for rollout, sample in zip(group.rollouts, row, strict=True):
            sample.weight = group.weight
            sample.token_mask = None if rollout.token_mask is None else torch.tensor(rollout.token_mask)


def mark_distilled(
    groups: Sequence[RolloutGroup], samples: Sequence[Sequence[Sample]], distillation: Distillation | None
) -> None:
    """Marks the samples whose rewards let them through to be drawn to a teacher."""
    for group, row in zip(groups, samples, strict=True):
        for rollout, sample in zip(group.rollouts, row, strict=True):
            sample.is_distilled = distillation is not None and distillation.lets_through(rollout.reward)


def advantage_shifts(groups: Sequence[RolloutGroup]) -> Tensor:
    """Returns what rewards add to the advantage of each completion, `[P, G]`."""
    return torch.tensor([[rollout.advantage_shift for rollout in group.rollouts] for group in groups])


def visits_of(step: int, groups: Sequence[RolloutGroup]) -> list[tuple[str, Visit]]:
    """Returns the visit of each question of a step, with its id; completions with a hint are no votes."""
    return [(group.question.id, _visit(step, group)) for group in groups]


def _visit(step: int, group: RolloutGroup) -> Visit:
    pairs = zip(group.letters, group.rollouts, strict=True)
    unaided = [letter for letter, rollout in pairs if not rollout.is_hinted]
    visit = visit_of(step, group.question, unaided, group.label)
    return replace(visit, is_labelled=group.is_labelled, is_trained=group.is_trained)
