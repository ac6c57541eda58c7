"""Hints for questions that all completions answer wrongly: they are asked again with a hint in front of them.

A right completion with the hint takes the place of a wrong one, so that the group has signal. It is trained as if it
had been sampled without the hint: its log-probs are those of the prompt without it, and since the engine has none for
that prompt, its tokens have no importance weight, as in KEPO (arXiv 2602.00400).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import nan
from typing import Any, Protocol

from medssr.errors import InputError, require
from medssr.grpo.parts import StepPart
from medssr.grpo.peers import with_permuted_ids
from medssr.grpo.rollouts import Rollout, RolloutCollector, RolloutGroup
from medssr.knowledge.source_passages import look_up_passages
from medssr.questions import Question
from medssr.rewards.scoring import traits_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Hints:
    """The hints of a stage.

    Attributes:
        num_completions: The number of completions with the hint of a question that needs it.
        texts: The hint of each question that has one, by its id.
    """

    num_completions: int = 0
    texts: Mapping[str, str] = field(default_factory=dict)

    def with_hint(self, question: Question) -> Question:
        """Returns a question that has a hint with it in front of its stem.

        Example:
            >>> question = Question("q", "Which organ?", {"A": "liver", "B": "heart"}, "B", "example")
            >>> Hints(1, {"q": "The heart pumps."}).with_hint(question).stem.splitlines()
            ['The heart pumps.', '', 'Which organ?']
        """
        return replace(question, stem=f"{self.texts[question.id]}\n\n{question.stem}")


class HintSource(Protocol):
    """Where the hints of a stage come from (`grpo/hints`)."""

    def hints(self, questions: Sequence[Question]) -> Hints:
        """Returns the hints of those questions that have one; every process has to call it."""
        ...


@dataclass(frozen=True, slots=True)
class PassageHints:
    """Hints that are the passages from which a synthetic question was written (`provenance.passages`).

    Args:
        corpus: The corpus of the synthesis.
        num_completions: The number of completions with the hint.
        max_characters: The greatest length of a hint; longer passages are cut.

    Raises:
        InputError: When a number is out of range.
    """

    corpus: Any
    num_completions: int
    max_characters: int

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for name in ("num_completions", "max_characters"):
            value = getattr(self, name)
            require(isinstance(value, int) and value >= 1, f"grpo.hints.{name}", f"{value!r}; at least 1.")

    def hints(self, questions: Sequence[Question]) -> Hints:
        """Returns the hints of those questions that have passages.

        Raises:
            InputError: When a passage is not in the corpus.
        """
        passages = look_up_passages(questions, self.corpus.passages(), "grpo/hints=null to train without hints")
        joined = {name: "\n\n".join(passage.text for passage in row) for name, row in passages.items() if row}
        log.info("hints: %d of %d questions have passages", len(joined), len(questions))
        texts = {name: text[: self.max_characters] for name, text in joined.items()}
        return Hints(self.num_completions, with_permuted_ids(texts))


class HintRetries(StepPart):
    """Asks questions that all completions answer wrongly again with their hints.

    Args:
        rollouts: Samples and scores completions.
        hints: The hints of the stage's questions.
    """

    def __init__(self, rollouts: RolloutCollector, hints: Hints) -> None:
        group_rewards = [name for name, reward in rollouts.rewards.items() if traits_of(reward).sees_groups]
        check_hints(hints, rollouts.config.num_generations, group_rewards)
        self._rollouts, self._hints = rollouts, hints

    def complete(self, step: int, groups: list[RolloutGroup]) -> list[RolloutGroup]:
        """Returns the groups with right completions with a hint in place of wrong ones."""
        with self._rollouts.times.part("rollout"):
            return retry_with_hints(groups, self._rollouts, self._hints, step)


def check_hints(hints: Hints, num_generations: int, group_rewards: Sequence[str]) -> None:
    """Raises InputError where hints would replace all completions of a question, or a reward compares these."""
    number = hints.num_completions
    problem = f"{number}; fewer than grpo.num_generations ({num_generations}), of which some have to be without a hint."
    require(number < num_generations, "grpo.hints.num_completions", problem)
    if number and group_rewards:
        raise InputError(
            f"grpo.hints: rewards of single completions say which are right, but reward.{group_rewards[0]} compares "
            "those of a question; take a reward by labels, such as reward=label_match, or grpo/hints=null."
        )


def retry_with_hints(
    groups: Sequence[RolloutGroup], rollouts: RolloutCollector, hints: Hints, step: int
) -> list[RolloutGroup]:
    """Returns the groups with right completions with a hint in place of the last ones of groups without a right one.

    Args:
        groups: The rollouts of this process, with the rewards of single completions.
        rollouts: Samples and scores completions.
        hints: The hints of questions.
        step: The index of the training step.
    """
    failed = [
        index
        for index, group in enumerate(groups)
        if group.question.id in hints.texts and all(rollout.label_reward <= 0 for rollout in group.rollouts)
    ]
    if not failed:
        return list(groups)
    questions = [groups[index].question for index in failed]
    prompts = rollouts.encode([hints.with_hint(question) for question in questions])
    sampled = rollouts.sample(step, questions, prompts, hints.num_completions, sampler="hint")
    unweighted = [[replace(one, logps=[nan] * len(one.token_ids)) for one in row] for row in sampled]
    retried = list(groups)
    for index, prompt, row in zip(failed, prompts, rollouts.score(questions, unweighted), strict=True):
        num_tokens = sum(len(prompt) + len(rollout.completion.token_ids) for rollout in row)
        retried[index] = with_hinted(groups[index], row, num_tokens)
    return retried


def with_hinted(group: RolloutGroup, hinted: Sequence[Rollout], num_tokens: int) -> RolloutGroup:
    """Returns a group with the right ones of completions with a hint in place of its last ones.

    Args:
        group: A group without a right completion.
        hinted: Fewer completions with a hint than the group has.
        num_tokens: The tokens of prompts and completions with the hint.
    """
    right = [replace(rollout, is_hinted=True) for rollout in hinted if rollout.label_reward > 0]
    kept = group.rollouts[: len(group.rollouts) - len(right)]
    return replace(group, rollouts=[*kept, *right], num_other_tokens=group.num_other_tokens + num_tokens)
