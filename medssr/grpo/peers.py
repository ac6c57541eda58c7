"""Answers of others to the questions of a step, which rewards compare with: of another view, or of a teacher.

A view of a question has its options permuted such that no option keeps its letter. What a policy answers by habit of a
letter is then another option in each view, so that two views agree on what it knows.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from medssr.answers import extract_choice
from medssr.grpo.parts import StepPart
from medssr.grpo.rollouts import RolloutCollector, RolloutGroup
from medssr.grpo.teachers import MovingAverage
from medssr.models.averaged_weights import AveragedWeights
from medssr.questions import Question
from medssr.questions.option_order import refers_to_order, reorder_options
from medssr.training.joint_stop import agree_to_stop
from medssr.training.step_loader import StepBatch
from medssr.utils.seeding import derive_seed

T = TypeVar("T")
Letters = list[str | None]

_SUFFIX = "/permuted"


class PermutedViews(StepPart):
    """Asks each question of a step in a permuted view as well, and gives each view the answers to the other.

    Args:
        seed: Run seed.
        stage: Name of the stage.
    """

    def __init__(self, seed: int, stage: str) -> None:
        self._seed, self._stage = seed, stage

    def begin(self, batch: StepBatch[Question]) -> StepBatch[Question]:
        """Returns the batch with each question followed by its permuted view."""
        return with_views(batch, self._seed, self._stage)

    def complete(self, step: int, groups: list[RolloutGroup]) -> list[RolloutGroup]:
        """Returns the groups with the answers to the other view of their questions as those of peers."""
        return with_other_views(groups)


class MovingTeacher(StepPart):
    """Moves the average that is the teacher after each optimiser step, and asks it where a reward needs its answers.

    Args:
        teacher: The settings of the teacher.
        average: Its weights.
        rollouts: Samples completions.
        model: The policy's model.
        is_asked: Whether a reward needs its answers.
    """

    def __init__(
        self,
        teacher: MovingAverage,
        average: AveragedWeights,
        rollouts: RolloutCollector,
        model: Any,
        *,
        is_asked: bool,
    ) -> None:
        self._teacher, self._average, self._rollouts, self._model = teacher, average, rollouts, model
        self._is_asked = is_asked

    def complete(self, step: int, groups: list[RolloutGroup]) -> list[RolloutGroup]:
        """Returns the groups with the answers of the teacher as those of peers."""
        if not self._is_asked:
            return groups
        agree_to_stop()  # the engine gets the teacher's weights in a collective call
        number = self._teacher.num_answers
        with self._rollouts.times.part("rollout"):
            return with_teacher_answers(groups, self._rollouts, self._average, self._model, step, number)

    def stepped(self, step: int) -> None:
        """Moves the average towards the policy's weights."""
        self._average.update(self._model, self._teacher.decay_at(step, self._rollouts.config.num_steps))


def with_views(batch: StepBatch[Question], seed: int, stage: str) -> StepBatch[Question]:
    """Returns the batch of a process with each question followed by its permuted view, also in the next step's.

    Args:
        batch: The questions of a step, without further ones for dynamic sampling.
        seed: Run seed.
        stage: Name of the stage; a permutation derives from seed, stage, question and step, so from the visit.
    """
    assert not batch.further_items, "refused when the configuration is composed"
    views = [
        view
        for question in batch.items
        for view in (question, permuted_view(question, derive_seed(seed, stage, "view", question.id, batch.step)))
    ]
    following = None if batch.following is None else with_views(batch.following, seed, stage)
    return replace(batch, items=views, following=following)


def permuted_view(question: Question, seed: int) -> Question:
    """Returns the question with its options permuted such that none keeps its letter, under an id of its own.

    A question whose options or stem refer to options by letter or position keeps its order, so that its second view is
    the same question once more.

    Example:
        >>> question = Question("q", "Which organ?", {"A": "liver", "B": "heart", "C": "lung"}, "A", "example")
        >>> view = permuted_view(question, seed=1)
        >>> view.id, view.options, view.answer
        ('q/permuted', {'A': 'heart', 'B': 'lung', 'C': 'liver'}, 'C')
    """
    if not refers_to_order(question):
        question = reorder_options(question, "".join(derangement(list(question.options), seed)))
    return replace(question, id=f"{question.id}{_SUFFIX}")


def derangement(letters: Sequence[str], seed: int) -> list[str]:
    """Returns the letters in an order drawn by a seed in which none has its old place; all such orders are as likely.

    Example:
        >>> derangement("AB", seed=0), derangement("ABCD", seed=0)
        (['B', 'A'], ['C', 'A', 'D', 'B'])
    """
    assert len(letters) > 1
    generator, order = random.Random(seed), list(letters)
    while any(new == old for new, old in zip(order, letters, strict=True)):
        generator.shuffle(order)
    return order


def with_permuted_ids(by_id: Mapping[str, T]) -> dict[str, T]:
    """Returns what is known of each question by its id, for the ids of permuted views as well."""
    return {**by_id, **{f"{question_id}{_SUFFIX}": value for question_id, value in by_id.items()}}


def with_other_views(groups: Sequence[RolloutGroup]) -> list[RolloutGroup]:
    """Returns the groups with the answers to the other view of their questions as those of peers.

    Args:
        groups: Of each question, the two groups of its views in a row. If they have peers already, these are exchanged
            between the views; else the answers of their own completions are.
    """
    pairs = zip(groups[::2], groups[1::2], strict=True)
    return [
        replace(group, peer_letters=_translated(_peers_or_own(other), other.question, group.question))
        for pair in pairs
        for group, other in (pair, reversed(pair))
    ]


def _peers_or_own(group: RolloutGroup) -> Letters:
    return group.letters if group.peer_letters is None else group.peer_letters


def _translated(letters: Sequence[str | None], asked: Question, question: Question) -> Letters:
    """Returns answers to a view of a question in the letters of the question itself."""
    letter_of = {text: letter for letter, text in question.options.items()}
    return [None if letter is None else letter_of[asked.options[letter]] for letter in letters]


def with_teacher_answers(
    groups: Sequence[RolloutGroup],
    rollouts: RolloutCollector,
    teacher: AveragedWeights,
    model: Any,
    step: int,
    num_answers: int,
) -> list[RolloutGroup]:
    """Returns the groups with the answers of a teacher as those of peers; all processes call it together.

    The engine then has the teacher's weights, until it is given the policy's after the update.

    Args:
        groups: The rollouts of this process.
        rollouts: Samples completions.
        teacher: The weights that sample.
        model: The policy's model.
        step: The index of the training step.
        num_answers: The number of the teacher's completions of each question.
    """
    questions, prompts = [group.question for group in groups], [group.prompt_ids for group in groups]
    with teacher.in_place_of(model):
        rollouts.engine.sync_weights(model)
        sampled = rollouts.sample(step, questions, prompts, num_answers, sampler="teacher")
    return [
        replace(
            group,
            peer_letters=[
                None if one.is_truncated else extract_choice(one.text, group.question.options).letter for one in row
            ],
            num_other_tokens=sum(len(group.prompt_ids) + len(one.token_ids) for one in row),
        )
        for group, row in zip(groups, sampled, strict=True)
    ]
