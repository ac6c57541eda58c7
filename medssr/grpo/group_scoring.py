"""Adds the rewards of groups to the rollouts of a step, with the weights, masks and shifts that they decide."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from medssr.answers import Choice, extract_choice
from medssr.engines.types import Completion
from medssr.grpo.advantages import weighted_sums
from medssr.grpo.answer_probability import answer_probabilities
from medssr.grpo.answer_statements import answer_statements
from medssr.grpo.objective import Objective
from medssr.grpo.parts import StepPart
from medssr.grpo.rollouts import RolloutCollector, RolloutGroup, Sample, weigh_samples
from medssr.models.policy import Policy
from medssr.models.sharding import is_sharded
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
from medssr.rewards.history import QuestionHistory
from medssr.rewards.scoring import BackgroundReward, Reward, traits_of
from medssr.training.joint_stop import agree_to_stop


class GroupScoring(StepPart):
    """Computes the rewards of groups of a step, and adds them to those of single completions.

    A reward in other processes that needs nothing of the whole step begins with a group when its completions are
    there, the others once all are. The weights of several rewards for a question are multiplied, their masks joined,
    and their shifts added.

    Args:
        rollouts: Has all rewards by name, and the policy.
        objective: Computes what rewards need of the policy.
        history: The earlier visits of the questions.
    """

    def __init__(self, rollouts: RolloutCollector, objective: Objective, history: QuestionHistory) -> None:
        self._rollouts, self._objective, self._history = rollouts, objective, history
        self._rewards = {name: reward for name, reward in rollouts.rewards.items() if is_group_reward(reward)}
        self._traits = {name: traits_of(reward) for name, reward in self._rewards.items()}
        needs_probabilities = any(traits.needs_answer_probabilities for traits in self._traits.values())
        self._needs_tokens = needs_probabilities or any(traits.needs_answer_tokens for traits in self._traits.values())
        # The pass that computes the statistics of the policy has its log-probs as well.
        self.sets_old_logps = any(traits.needs_statistics for traits in self._traits.values())
        self.needs_pass = self.sets_old_logps or needs_probabilities
        self._inputs: dict[int, GroupInput] = {}
        self._background = {
            name: reward for name, reward in self._rewards.items() if isinstance(reward, BackgroundReward)
        }

    def arrived(
        self, index: int, question: Question, completions: Sequence[Completion], choices: Sequence[Choice]
    ) -> None:
        """Begins to score a group where that is possible."""
        if not self._inputs:
            for reward in self._background.values():
                reward.begin()
        policy, history = self._rollouts.policy, self._history[question.id]
        tokens = answer_tokens(question, completions, choices, policy) if self._needs_tokens else None
        group = self._inputs[index] = GroupInput(question, completions, choices, history, None, tokens)
        self._start(index, group, is_whole=False)

    def score(self, groups: list[RolloutGroup], samples: Sequence[Sequence[Sample]]) -> list[RolloutGroup]:
        """Returns the groups with the results of all rewards, and gives the samples their weights and masks."""
        if self.needs_pass and is_sharded(self._objective.model):
            agree_to_stop()  # the passes of a sharded model are collective calls
        times, statistics = self._rollouts.times, None
        if self.sets_old_logps:
            with times.part("reference"):
                statistics = self._objective.compute_statistics([sample for row in samples for sample in row])
        with times.part("reward"):
            groups = self._with_rewards(groups, statistics)
        weigh_samples(groups, samples)
        return groups

    def _with_rewards(
        self, groups: Sequence[RolloutGroup], statistics: Sequence[TokenStatistics] | None
    ) -> list[RolloutGroup]:
        """Returns the groups with the results of all rewards.

        Args:
            groups: P groups of G rollouts, scored by the rewards of single completions.
            statistics: Of the P * G rollouts in their order; None if no reward needs them.
        """
        in_order = None if statistics is None else iter(statistics)
        probabilities = self._answer_probabilities(groups)
        inputs, self._inputs = self._inputs, {}
        for index, group in enumerate(groups):
            rows = None if in_order is None else list(islice(in_order, len(group.rollouts)))
            inputs[index] = replace(
                inputs[index],
                statistics=rows,
                peer_letters=group.peer_letters,
                answer_probabilities=probabilities[index],
            )
            self._start(index, inputs[index], is_whole=True)
        results = [self._results_here(inputs[index]) for index in range(len(groups))]
        for name, reward in self._background.items():
            for index, result in reward.results().items():
                results[index][name] = group_result(result, inputs[index])
        return [
            _with_results(group, self._rollouts.rewards, by_name)
            for group, by_name in zip(groups, results, strict=True)
        ]

    def _answer_probabilities(self, groups: Sequence[RolloutGroup]) -> Sequence[AnswerProbabilities | None]:
        """Returns the probabilities of each group's label; None where no reward reads them."""
        readers = [name for name, traits in self._traits.items() if traits.needs_answer_probabilities]
        if not readers:
            return [None] * len(groups)
        is_read = [any(self._rollouts.has_reward(group.question, name) for name in readers) for group in groups]
        tokens = [self._inputs[index].answer_tokens or [] for index in range(len(groups))]
        texts = _texts(self._rollouts.policy)
        return answer_probabilities(groups, is_read, tokens, *texts, self._objective.policy_logps)

    def _start(self, index: int, group: GroupInput, *, is_whole: bool) -> None:
        """Gives a group to the rewards in other processes that need the whole step first, or to those that do not."""
        for name, reward in self._background.items():
            traits = self._traits[name]
            needs_whole = traits.needs_statistics or traits.needs_peers or traits.needs_answer_probabilities
            is_due = needs_whole == is_whole
            if is_due and self._rollouts.has_reward(group.question, name):
                reward.add(index, group)

    def _results_here(self, group: GroupInput) -> dict[str, GroupResult]:
        """Returns the results of the rewards in this process."""
        return {
            name: score_group(reward, group)
            for name, reward in self._rewards.items()
            if name not in self._background and self._rollouts.has_reward(group.question, name)
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
