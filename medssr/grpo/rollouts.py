"""Samples completions of the questions of a training step, and collects their answers and rewards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import torch
from torch import Tensor

from medssr.answers import Choice, extract_choice
from medssr.config import GRPOConfig
from medssr.engines.types import Completion, RolloutEngine, Sampling
from medssr.grpo.advantages import deciding_rewards, weighted_sum
from medssr.models.policy import Policy
from medssr.questions import Question
from medssr.rewards.scoring import Reward, RewardResult, ScoredInput, score_inputs
from medssr.utils.seeding import derive_seed

# What the completions of a step depend on beside weights and settings: the id of a question, which seeds derive from,
# and its prompt.
Asked = tuple[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Rollout:
    """A completion with its extracted answer and its rewards.

    Attributes:
        completion: The sampled completion.
        choice: The extracted answer.
        reward: The weighted sum of its rewards; NaN where one of them is unknown.
        label_reward: The weighted sum of the rewards that decide whether the group has signal.
        results: The result of each reward, by name.
    """

    completion: Completion
    choice: Choice
    reward: float
    label_reward: float
    results: Mapping[str, RewardResult] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RolloutGroup:
    """All rollouts of one prompt."""

    question: Question
    prompt_ids: list[int]
    rollouts: list[Rollout]

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
        is_dummy: Whether it only keeps collective calls in step on a process without samples; it has no loss.
    """

    question_id: str
    prompt_ids: list[int]
    completion_ids: list[int]
    engine_logps: Tensor
    old_logps: Tensor | None = None
    ref_logps: Tensor | None = None
    is_dummy: bool = False

    @property
    def num_tokens(self) -> int:
        """The number of tokens of prompt and completion."""
        return len(self.prompt_ids) + len(self.completion_ids)

    def to_send(self) -> Sample:
        """Returns the sample for another process: its log-probs are on the CPU and take no larger tensor along."""
        logps = (self.engine_logps, self.old_logps, self.ref_logps)
        engine, old, ref = (None if values is None else values.cpu().clone() for values in logps)
        assert engine is not None
        return replace(self, engine_logps=engine, old_logps=old, ref_logps=ref)


@dataclass(frozen=True, slots=True)
class ScoredGroups:
    """The rollouts of a step with their rewards.

    Attributes:
        groups: P groups of G rollouts.
        samples: `[P][G]`, the same completions as samples for the update.
        rewards: `[P, G]`, the rewards that advantages are computed from; NaN where a completion is unscored.
        has_signal: `[P]`, whether the label rewards of a group differ.
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
    """Samples completions of questions and computes their rewards.

    Attributes:
        policy: Encodes the prompts.
        engine: Samples the completions.
        rewards: Rewards by name.
        config: The number, length and temperature of completions.
        seed: Run seed.
        stage: Name of the stage; the seed of a completion derives from run seed, stage, step, question and index.
        source: The question file, for messages.
    """

    policy: Policy
    engine: RolloutEngine
    rewards: Mapping[str, Reward]
    config: GRPOConfig
    seed: int
    stage: str
    source: str

    def encode(self, questions: Sequence[Question]) -> list[list[int]]:
        """Returns the token ids of each question's prompt."""
        return self.policy.encode(list(questions), self.config.max_new_tokens, self.source)

    def sample(self, step: int, questions: Sequence[Question], prompts: Sequence[list[int]]) -> list[list[Completion]]:
        """Returns the completions of each question, by the weights that the engine has."""
        config = self.config
        seeds = [
            [derive_seed(self.seed, self.stage, step, question.id, index) for index in range(config.num_generations)]
            for question in questions
        ]
        return self.engine.generate(prompts, seeds, Sampling(config.temperature, config.max_new_tokens))

    def collect(
        self, step: int, questions: Sequence[Question], ahead: Mapping[Asked, list[Completion]] | None = None
    ) -> list[RolloutGroup]:
        """Returns a group of rollouts for each question.

        Args:
            step: The index of the training step.
            questions: The questions.
            ahead: The completions that are already there; all others are sampled now.
        """
        ahead = ahead or {}
        prompts = self.encode(questions)
        asked = [(question.id, tuple(prompt)) for question, prompt in zip(questions, prompts, strict=True)]
        missing = [index for index, key in enumerate(asked) if key not in ahead]
        sampled = self.sample(step, [questions[i] for i in missing], [prompts[i] for i in missing]) if missing else []
        new = dict(zip(missing, sampled, strict=True))
        completions = [new[index] if index in new else ahead[key] for index, key in enumerate(asked)]
        rollouts = self._score(questions, completions)
        return [
            RolloutGroup(question, prompt, row)
            for question, prompt, row in zip(questions, prompts, rollouts, strict=True)
        ]

    def _score(self, questions: Sequence[Question], completions: Sequence[Sequence[Completion]]) -> list[list[Rollout]]:
        """Returns the completions of each question with their answers and reward results."""
        inputs = [
            ScoredInput(question, completion, extract_choice(completion.text, question.options))
            for question, row in zip(questions, completions, strict=True)
            for completion in row
        ]
        results = score_inputs(self.rewards, inputs)
        deciding = deciding_rewards(self.rewards)
        rollouts = (
            Rollout(
                item.completion, item.choice, weighted_sum(self.rewards, result), weighted_sum(deciding, result), result
            )
            for item, result in zip(inputs, results, strict=True)
        )
        return [list(islice(rollouts, len(row))) for row in completions]


def require_logps(values: Iterable[Tensor | None]) -> list[Tensor]:
    """Returns the log-probs of samples, all of which must have been computed."""
    logps = []
    for value in values:
        assert value is not None, "the log-probs of this sample have not been computed"
        logps.append(value)
    return logps


def make_samples(groups: Sequence[RolloutGroup]) -> list[list[Sample]]:
    """Returns a sample for each completion of each group."""
    return [
        [
            Sample(
                group.question.id,
                group.prompt_ids,
                rollout.completion.token_ids,
                torch.tensor(rollout.completion.logps),
            )
            for rollout in group.rollouts
        ]
        for group in groups
    ]
