"""From the questions of a training step to judged completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from medssr.answers import extract_choice
from medssr.config import GRPOConfig
from medssr.engines.types import Completion, RolloutEngine, Sampling
from medssr.grpo.records import Rollout, RolloutGroup
from medssr.models.policy import Policy
from medssr.questions import Question
from medssr.rewards.scoring import FaultWatch, judge, total_reward
from medssr.rewards.types import Reward, ScoredInput
from medssr.training.step_loader import StepBatch
from medssr.utils.seeding import derive_seed


@dataclass(frozen=True, slots=True)
class RolloutCollector:
    """Samples completions of questions and has the rewards judge them.

    Attributes:
        policy: Encodes the prompts.
        engine: Samples.
        rewards: Rewards by name.
        config: How many completions, how long, at what temperature.
        seed: Run seed.
        stage: Name of the stage; with the run seed, the step and the question it makes the seed of a completion.
        source: The question file, for messages.
        watch: Looks out for rewards that fail.
    """

    policy: Policy
    engine: RolloutEngine
    rewards: Mapping[str, Reward]
    config: GRPOConfig
    seed: int
    stage: str
    source: str
    watch: FaultWatch = field(default_factory=FaultWatch)

    def collect(self, batch: StepBatch[Question]) -> list[RolloutGroup]:
        """Returns a group of judged completions for each question of the step."""
        config = self.config
        prompts = self.policy.encode(batch.items, config.max_new_tokens, self.source)
        seeds = [
            [
                derive_seed(self.seed, self.stage, batch.step, question.id, sample)
                for sample in range(config.num_generations)
            ]
            for question in batch.items
        ]
        completions = self.engine.generate(prompts, seeds, Sampling(config.temperature, config.max_new_tokens))
        rollouts = self._judge(batch, completions)
        return [
            RolloutGroup(question, prompt, row)
            for question, prompt, row in zip(batch.items, prompts, rollouts, strict=True)
        ]

    def _judge(self, batch: StepBatch[Question], completions: Sequence[Sequence[Completion]]) -> list[list[Rollout]]:
        """Returns the completions of each question with their answers and rewards."""
        cases = [
            ScoredInput(question, completion, extract_choice(completion.text, question.options))
            for question, row in zip(batch.items, completions, strict=True)
            for completion in row
        ]
        judgements = judge(self.rewards, cases)
        self.watch.look(batch.step, cases, judgements)
        rollouts = (
            Rollout(case.completion, case.choice, total_reward(self.rewards, found), found)
            for case, found in zip(cases, judgements, strict=True)
        )
        return [list(islice(rollouts, len(row))) for row in completions]
