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
from medssr.grpo.rollouts import Rollout, RolloutGroup, Sample
from medssr.grpo.teachers import Distillation
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
        has_reward: Returns whether a question has the reward of a name.
    """
    group_rewards = {name: reward for name, reward in rewards.items() if is_group_reward(reward)}
    in_order = None if statistics is None else iter(statistics)
    needs_tokens = any(traits_of(reward).needs_answer_tokens for reward in group_rewards.values())
    inputs = [
        GroupInput(
            group.question,
            [rollout.completion for rollout in group.rollouts],
            [rollout.choice for rollout in group.rollouts],
            history[group.question.id],
            None if in_order is None else list(islice(in_order, len(group.rollouts))),
            _answer_tokens(group, policy) if needs_tokens else None,
            group.peer_letters,
        )
        for group in groups
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
    )


def joint_mask(masks: Sequence[Sequence[bool]]) -> tuple[bool, ...] | None:
    """Returns the mask of the tokens that no mask leaves out; None if there is no mask.

    Example:
        >>> joint_mask([[True, True, False], [True, False, True]])
        (True, False, False)
    """
    return tuple(map(all, zip(*masks, strict=True))) if masks else None


def answer_token(token_ids: Sequence[int], letter: str, reads: Callable[[Sequence[int]], str | None]) -> int:
    """Returns the index of the token that states the answer: without it and those behind it, the answer is not read.

    Looks back from the end in steps that double, and then halves the last step: the answer is stated near the end, and
    few readings are needed. An answer that is stated early and kept is found where it is stated first.

    Args:
        token_ids: The tokens of a completion in which the answer is read.
        letter: The answer.
        reads: Returns the answer that is read in the first tokens.

    Example:
        >>> answer_token([1, 2, 7, 3], "B", lambda ids: "B" if 7 in ids else None)
        2
    """
    shortest_with, step = len(token_ids), 1
    while (shorter := max(0, shortest_with - step)) > 0 and reads(token_ids[:shorter]) == letter:
        shortest_with, step = shorter, 2 * step
    longest_without = shorter
    while shortest_with - longest_without > 1:
        middle = (shortest_with + longest_without) // 2
        if reads(token_ids[:middle]) == letter:
            shortest_with = middle
        else:
            longest_without = middle
    return shortest_with - 1


def _answer_tokens(group: RolloutGroup, policy: Policy) -> list[int | None]:
    def reads(token_ids: Sequence[int]) -> str | None:
        text = policy.tokenizer.decode(list(token_ids), skip_special_tokens=True)
        return extract_choice(text, group.question.options).letter

    def token_of(rollout: Rollout) -> int | None:
        letter = rollout.choice.letter
        is_answered = letter is not None and not rollout.completion.is_truncated
        return answer_token(rollout.completion.token_ids, str(letter), reads) if is_answered else None

    return [token_of(rollout) for rollout in group.rollouts]


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
    visits = []
    for group in groups:
        pairs = zip(group.letters, group.rollouts, strict=True)
        unaided = [letter for letter, rollout in pairs if not rollout.is_hinted]
        visits.append((group.question.id, visit_of(step, group.question, unaided, group.label)))
    return visits
