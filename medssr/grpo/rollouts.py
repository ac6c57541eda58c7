"""Samples completions of the questions of a training step, and collects their answers and rewards."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from medssr.answers import Choice, extract_choice
from medssr.config import GRPOConfig
from medssr.engines.streaming import Answers, Request, stream_completions
from medssr.engines.types import Completion, RolloutEngine, Sampling
from medssr.grpo.advantages import weighted_sums
from medssr.models.policy import Policy
from medssr.questions import Question
from medssr.rewards.scoring import Reward, RewardResult, ScoredInput, StepScoring, traits_of
from medssr.tracking.step_times import StepTimes
from medssr.training.step_loader import StepBatch
from medssr.utils.seeding import derive_seed

if TYPE_CHECKING:
    from medssr.grpo.ahead import StepAhead

# What the completions of a step depend on beside weights and settings: the id of a question, which seeds derive from,
# and its prompt.
Asked = tuple[str, tuple[int, ...]]
# Called with the index of a question, the question, its completions and their answers.
OnGroup = Callable[[int, Question, Sequence[Completion], Sequence[Choice]], None]


@dataclass(frozen=True, slots=True)
class Rollout:
    """A completion with its extracted answer and its rewards.

    Attributes:
        completion: The sampled completion.
        choice: The extracted answer.
        reward: The weighted sum of its rewards; NaN where one of them is unknown.
        label_reward: The weighted sum of the rewards that decide whether the group has signal.
        results: The result of each reward, by name.
        advantage_shift: Added to its advantage.
        token_mask: Whether each of its tokens is trained; None for all.
        is_hinted: Whether it was sampled with a hint in the prompt.
    """

    completion: Completion
    choice: Choice
    reward: float
    label_reward: float
    results: Mapping[str, RewardResult] = field(default_factory=dict)
    advantage_shift: float = 0.0
    token_mask: tuple[bool, ...] | None = None
    is_hinted: bool = False


@dataclass(frozen=True, slots=True)
class RolloutGroup:
    """All rollouts of one prompt.

    Attributes:
        question: The question.
        prompt_ids: Token ids of the prompt.
        rollouts: G rollouts.
        label: The label that the rewards compare answers with: the question's own, or one that a reward found.
        weight: The weight of the question in the loss.
        peer_letters: The answers of others to the question (`peers.py`); None if there are none.
        num_other_tokens: The prompt and completion tokens of further completions: a teacher's, or those with a hint.
        is_labelled: Whether that label is the question's own, which its rewards read.
        is_trained: Whether a selection keeps the question.
    """

    question: Question
    prompt_ids: list[int]
    rollouts: list[Rollout]
    label: str | None = None
    weight: float = 1.0
    peer_letters: list[str | None] | None = None
    num_other_tokens: int = 0
    is_labelled: bool = False
    is_trained: bool = True

    @property
    def letters(self) -> list[str | None]:
        """The answer of each rollout; None for a truncated one, even if an answer could be extracted."""
        return [None if rollout.completion.is_truncated else rollout.choice.letter for rollout in self.rollouts]

    def without_logps(self) -> RolloutGroup:
        """Returns the group without the log-probs of its tokens."""
        rollouts = [replace(rollout, completion=replace(rollout.completion, logps=[])) for rollout in self.rollouts]
        return replace(self, rollouts=rollouts)


@dataclass(slots=True)
class Sample:
    """One completion with its prompt and the log-probs that the update uses.

    Attributes:
        question_id: The id of its question.
        prompt_ids: Token ids of the prompt.
        completion_ids: The T sampled token ids.
        engine_logps: `[T]`, by the rollout engine, on the CPU.
        old_logps: `[T]`, by the trainer, with its weights when the step begins; None if these are the current ones.
        ref_logps: `[T]`, by the reference policy; None if there is no reference.
        weight: The weight of its question in the loss.
        token_mask: `[T]`, whether each token is trained; None for all.
        is_distilled: Whether its distributions are drawn to those of the teacher.
        is_dummy: Whether it only keeps collective calls in step on a process without samples; it has no loss.
    """

    question_id: str
    prompt_ids: list[int]
    completion_ids: list[int]
    engine_logps: Tensor
    old_logps: Tensor | None = None
    ref_logps: Tensor | None = None
    weight: float = 1.0
    token_mask: Tensor | None = None
    is_distilled: bool = False
    is_dummy: bool = False

    @property
    def num_tokens(self) -> int:
        """The number of tokens of prompt and completion."""
        return len(self.prompt_ids) + len(self.completion_ids)

    def to_send(self) -> Sample:
        """Returns the sample for another process: its log-probs are on the CPU and take no larger tensor along."""
        tensors = (self.engine_logps, self.old_logps, self.ref_logps, self.token_mask)
        engine, old, ref, mask = (None if values is None else values.cpu().clone() for values in tensors)
        assert engine is not None
        return replace(self, engine_logps=engine, old_logps=old, ref_logps=ref, token_mask=mask)

    @property
    def num_trained_tokens(self) -> int:
        """The number of completion tokens that the loss counts."""
        return len(self.completion_ids) if self.token_mask is None else int(self.token_mask.sum())

    def trained(self, values: Tensor | None) -> Tensor | None:
        """Returns the values of the tokens that the loss counts, given those of all, `[T]`."""
        return values if values is None or self.token_mask is None else values[self.token_mask.to(values.device)]


@dataclass(frozen=True, slots=True)
class ScoredGroups:
    """The rollouts of a step with their rewards.

    Attributes:
        groups: P groups of G rollouts.
        samples: `[P][G]`, the same completions as samples for the update.
        rewards: `[P, G]`, the rewards that advantages are computed from; NaN where a completion is unscored.
        has_signal: `[P]`, whether the label rewards of a group differ, or its advantages are shifted.
    """

    groups: list[RolloutGroup]
    samples: list[list[Sample]]
    rewards: Tensor
    has_signal: Tensor

    def __add__(self, other: ScoredGroups) -> ScoredGroups:
        """Returns the concatenation of both."""
        return ScoredGroups(
            self.groups + other.groups,
            self.samples + other.samples,
            torch.cat([self.rewards, other.rewards]),
            torch.cat([self.has_signal, other.has_signal]),
        )

    def select(self, indices: list[int]) -> ScoredGroups:
        """Returns the groups with the given indices."""
        return ScoredGroups(
            [self.groups[index] for index in indices],
            [self.samples[index] for index in indices],
            self.rewards[indices],
            self.has_signal[indices],
        )


@dataclass(frozen=True, slots=True)
class StepRollouts:
    """The rollouts of all processes in a training step, for callbacks.

    Attributes:
        step: The index of the training step.
        groups: The rollouts of all processes, without log-probs.
        rewards: `[num_groups][G]`, the rewards that advantages are computed from; NaN where a completion is unscored.
        advantages: `[num_groups][G]`.
    """

    step: int
    groups: list[RolloutGroup]
    rewards: list[list[float]]
    advantages: list[list[float]]


@dataclass(frozen=True, slots=True)
class RolloutCollector:
    """Samples completions of questions and computes their rewards, but for those that see whole groups.

    Attributes:
        policy: Encodes the prompts.
        engine: Samples the completions.
        rewards: Rewards by name.
        config: The number, length and temperature of completions.
        seed: Run seed.
        stage: Name of the stage; the seed of a completion derives from run seed, stage, step, question and index.
        source: The question file, for messages.
        reward_names: The names of the rewards of a question, by its id; a question that is not there has all rewards.
        times: Measures the parts of a training step.
        ahead: Samples the next step's while this one trains; None where the two are done in turns.
    """

    policy: Policy
    engine: RolloutEngine
    rewards: Mapping[str, Reward]
    config: GRPOConfig
    seed: int
    stage: str
    source: str
    reward_names: Mapping[str, Collection[str]] = field(default_factory=dict)
    times: StepTimes = field(default_factory=StepTimes)
    ahead: StepAhead | None = None

    def has_reward(self, question: Question, name: str) -> bool:
        """Returns whether the completions of a question have the reward of a name."""
        return name in self.reward_names.get(question.id, self.rewards)

    def sampling_settings(self) -> dict[str, Any]:
        """Returns what completions depend on beside weights, prompt, step and question."""
        config = self.config
        names = ("num_generations", "temperature", "max_new_tokens")
        return {"seed": self.seed, "stage": self.stage} | {name: getattr(config, name) for name in names}

    def encode(self, questions: Sequence[Question]) -> list[list[int]]:
        """Returns the token ids of each question's prompt."""
        return self.policy.encode(list(questions), self.config.max_new_tokens, self.source)

    def sample(
        self,
        step: int,
        questions: Sequence[Question],
        prompts: Sequence[list[int]],
        number: int | None = None,
        sampler: str | None = None,
    ) -> list[list[Completion]]:
        """Returns the completions of each question, by the weights that the engine has.

        Args:
            step: The index of the training step.
            questions: The questions.
            prompts: The token ids of each question's prompt.
            number: The number of completions of each; None for G.
            sampler: Whose completions they are, if not the policy's; theirs have other seeds.
        """
        return self.engine.generate(prompts, self._seeds(step, questions, number, sampler), self._sampling())

    def collect(
        self,
        step: int,
        questions: Sequence[Question],
        on_group: OnGroup | None = None,
    ) -> list[RolloutGroup]:
        """Returns a group of rollouts for each question; rewards begin as completions arrive.

        Args:
            step: The index of the training step.
            questions: The questions.
            on_group: Is told each group when its completions are there.
        """
        prompts = self.encode(questions)
        scoring = StepScoring(self._single_rewards, self.has_reward)
        groups: dict[int, list[ScoredInput]] = {}
        with closing(self._arriving(step, questions, prompts)) as arriving:
            for index, completions in arriving:
                with self.times.part("reward"):
                    question = questions[index]
                    choices = [extract_choice(completion.text, question.options) for completion in completions]
                    groups[index] = [ScoredInput(question, *pair) for pair in zip(completions, choices, strict=True)]
                    for number, item in enumerate(groups[index]):
                        scoring.add(index * len(completions) + number, item)
                    if on_group is not None:
                        on_group(index, question, completions, choices)
        with self.times.part("reward"):
            results = scoring.results()
        inputs = [item for index in sorted(groups) for item in groups[index]]
        rollouts = _rollouts(self.rewards, inputs, results)
        return [
            self._group(question, prompt, list(islice(rollouts, len(groups[index]))))
            for index, (question, prompt) in enumerate(zip(questions, prompts, strict=True))
        ]

    def end_sampling(self, following: StepBatch[Question] | None) -> None:
        """Makes room for the update, or starts to sample this process's questions of the next step, if there is one."""
        with self.times.part("sync"):
            self.engine.release_memory()
        if self.ahead is not None:
            self.ahead.start(following)

    def sync_weights(self, model: Any) -> float | None:
        """Gives the engine the weights of a model; returns how far its log-probs are off, where the engine knows.

        What is sampled ahead is waited for, so that no completions come from two versions of the weights.
        """
        if self.ahead is not None:
            self.ahead.finish()
        with self.times.part("sync"):
            return self.engine.sync_weights(model)

    def score(self, questions: Sequence[Question], completions: Sequence[Sequence[Completion]]) -> list[list[Rollout]]:
        """Returns the completions of each question with their answers and the results of rewards of single ones."""
        inputs = [
            ScoredInput(question, completion, extract_choice(completion.text, question.options))
            for question, row in zip(questions, completions, strict=True)
            for completion in row
        ]
        scoring = StepScoring(self._single_rewards, self.has_reward)
        for number, item in enumerate(inputs):
            scoring.add(number, item)
        rollouts = _rollouts(self.rewards, inputs, scoring.results())
        return [list(islice(rollouts, len(row))) for row in completions]

    @property
    def _single_rewards(self) -> dict[str, Reward]:
        """The rewards that see one completion at a time."""
        return {name: reward for name, reward in self.rewards.items() if not traits_of(reward).sees_groups}

    def _group(self, question: Question, prompt: list[int], rollouts: list[Rollout]) -> RolloutGroup:
        """Returns the group of a question, whose label is its own if one of its rewards reads it."""
        reads_label = not all(traits_of(self.rewards[name]).is_label_free for name in rollouts[0].results)
        label = question.answer if reads_label else None
        return RolloutGroup(question, prompt, rollouts, label, is_labelled=label is not None)

    def _arriving(self, step: int, questions: Sequence[Question], prompts: Sequence[list[int]]) -> Answers:
        """Yields the index of each question with its completions: those that are there, then others as they come."""
        ahead = {} if self.ahead is None else self.ahead.of_step(step, questions)
        asked = [(question.id, tuple(prompt)) for question, prompt in zip(questions, prompts, strict=True)]
        yield from ((index, ahead[key]) for index, key in enumerate(asked) if key in ahead)
        missing = [index for index, key in enumerate(asked) if key not in ahead]
        if missing:
            seeds = self._seeds(step, [questions[index] for index in missing])
            requests = [Request(index, prompts[index], row) for index, row in zip(missing, seeds, strict=True)]
            yield from stream_completions(self.engine, [requests], self._sampling())

    def _seeds(
        self, step: int, questions: Sequence[Question], number: int | None = None, sampler: str | None = None
    ) -> list[list[int]]:
        """Returns the seeds of the completions of each question."""
        whose = () if sampler is None else (sampler,)
        indices = range(self.config.num_generations if number is None else number)
        return [
            [derive_seed(self.seed, self.stage, step, question.id, *whose, index) for index in indices]
            for question in questions
        ]

    def _sampling(self) -> Sampling:
        return Sampling(self.config.temperature, self.config.max_new_tokens)


def _rollouts(
    rewards: Mapping[str, Reward], inputs: Iterable[ScoredInput], results: Iterable[dict[str, RewardResult]]
) -> Iterator[Rollout]:
    """Yields the rollout of each completion with its results."""
    for item, result in zip(inputs, results, strict=True):
        yield Rollout(item.completion, item.choice, *weighted_sums(rewards, result), result)


def require_logps(values: Iterable[Tensor | None]) -> list[Tensor]:
    """Returns the log-probs of samples, all of which must have been computed."""
    logps = []
    for value in values:
        assert value is not None, "the log-probs of this sample have not been computed"
        logps.append(value)
    return logps


def make_samples(groups: Sequence[RolloutGroup]) -> list[list[Sample]]:
    """Returns a sample for each completion of each group."""
    samples = [
        [
            Sample(group.question.id, group.prompt_ids, one.completion.token_ids, torch.tensor(one.completion.logps))
            for one in group.rollouts
        ]
        for group in groups
    ]
    weigh_samples(groups, samples)
    return samples


def weigh_samples(groups: Sequence[RolloutGroup], samples: Sequence[Sequence[Sample]]) -> None:
    """Gives samples the weights of their questions and the masks of their tokens."""
    for group, row in zip(groups, samples, strict=True):
        for rollout, sample in zip(group.rollouts, row, strict=True):
            sample.weight = group.weight
            sample.token_mask = None if rollout.token_mask is None else torch.tensor(rollout.token_mask)
