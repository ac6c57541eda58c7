"""Adds the rewards of groups to the rollouts of a step, with the weights, masks and shifts that they decide."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor

from medssr.answers import extract_choice
from medssr.grpo.advantages import weighted_sums
from medssr.grpo.answer_probability import answer_probabilities
from medssr.grpo.answer_statements import answer_statements
from medssr.grpo.rollouts import RolloutGroup, Sample
from medssr.models.policy import Policy
from medssr.questions import Question
from medssr.rewards.groups import GroupInput, GroupResult, TokenStatistics, is_group_reward, score_groups
from medssr.rewards.history import QuestionHistory, Visit, visit_of
from medssr.rewards.scoring import Reward, traits_of


def add_group_rewards(
    groups: Sequence[RolloutGroup],
    rewards: Mapping[str, Reward],
    policy: Policy,
    history: QuestionHistory,
    statistics: Sequence[TokenStatistics] | None,
    logps_of: Callable[[list[Sample]], list[Tensor]],
    has_reward: Callable[[Question, str], bool] = lambda question, name: True,
) -> list[RolloutGroup]:
    """Returns the groups with the results of the rewards of groups added to those of single completions.

    The weights of several rewards for a question are multiplied, their masks joined, and their shifts added.

    Args:
        groups: P groups of G rollouts, scored by the rewards of single completions.
        rewards: All rewards by name.
        policy: Decodes tokens.
        history: The earlier visits of the questions.
        statistics: Of the P * G rollouts in their order; None if no reward needs them.
        logps_of: Returns the policy's log-probs of the completion tokens of samples.
        has_reward: Returns whether a question has the reward of a name.
    """
    group_rewards = {name: reward for name, reward in rewards.items() if is_group_reward(reward)}
    in_order = None if statistics is None else iter(statistics)
    traits = {name: traits_of(reward) for name, reward in group_rewards.items()}
    tokens = probabilities = None
    if any(trait.needs_answer_tokens for trait in traits.values()):
        tokens = [answer_tokens(group, policy) for group in groups]
        readers = [name for name, trait in traits.items() if trait.needs_answer_probabilities]
        is_read = [any(has_reward(group.question, name) for name in readers) for group in groups]
        if readers:
            probabilities = answer_probabilities(groups, is_read, tokens, *_texts(policy), logps_of)
    inputs = [
        GroupInput(
            group.question,
            [rollout.completion for rollout in group.rollouts],
            [rollout.choice for rollout in group.rollouts],
            history[group.question.id],
            None if in_order is None else list(islice(in_order, len(group.rollouts))),
            None if tokens is None else tokens[number],
            None if probabilities is None else probabilities[number],
        )
        for number, group in enumerate(groups)
    ]
    results: list[dict[str, GroupResult]] = [{} for _ in groups]
    for name, reward in group_rewards.items():
        rewarded = [number for number, group in enumerate(groups) if has_reward(group.question, name)]
        for number, result in zip(rewarded, score_groups(reward, [inputs[number] for number in rewarded]), strict=True):
            results[number][name] = result
    return [_with_results(group, rewards, by_name) for group, by_name in zip(groups, results, strict=True)]


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


def answer_tokens(group: RolloutGroup, policy: Policy) -> list[tuple[range, ...] | None]:
    """Returns for each rollout the tokens that state its answer, the last statement first; None without an answer."""

    def reads(token_ids: Sequence[int]) -> str | None:
        text = policy.tokenizer.decode(list(token_ids), skip_special_tokens=True)
        return extract_choice(text, group.question.options).letter

    return [
        None if letter is None else answer_statements(rollout.completion.token_ids, letter, reads)
        for rollout, letter in zip(group.rollouts, group.letters, strict=True)
    ]


def weigh_samples(groups: Sequence[RolloutGroup], samples: Sequence[Sequence[Sample]]) -> None:
    """Gives samples the weights of their questions and the masks of their tokens."""
    for group, row in zip(groups, samples, strict=True):
        for rollout, sample in zip(group.rollouts, row, strict=True):
            sample.weight = group.weight
            sample.token_mask = None if rollout.token_mask is None else torch.tensor(rollout.token_mask)


def advantage_shifts(groups: Sequence[RolloutGroup]) -> Tensor:
    """Returns what rewards add to the advantage of each completion, `[P, G]`."""
    return torch.tensor([[rollout.advantage_shift for rollout in group.rollouts] for group in groups])


def visits_of(step: int, groups: Sequence[RolloutGroup]) -> list[tuple[str, Visit]]:
    """Returns the visit of each question of a step, with its id."""
    return [(group.question.id, _visit(step, group)) for group in groups]


def _visit(step: int, group: RolloutGroup) -> Visit:
    visit = visit_of(step, group.question, group.letters, group.label)
    return replace(visit, is_labelled=group.is_labelled, is_trained=group.is_trained)
