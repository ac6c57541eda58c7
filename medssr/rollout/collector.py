"""From the questions of a training step to judged completions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from medssr.answers import extract_choice
from medssr.config import GRPOConfig
from medssr.data.step_loader import StepBatch
from medssr.models.policy import Policy
from medssr.questions import Question
from medssr.rewards.types import Reward, total_reward
from medssr.rollout.engine import RolloutEngine
from medssr.rollout.types import Completion, Rollout, RolloutGroup, Sampling
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
    """

    policy: Policy
    engine: RolloutEngine
    rewards: Mapping[str, Reward]
    config: GRPOConfig
    seed: int
    stage: str
    source: str

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
        groups = self.engine.generate(prompts, seeds, Sampling(config.temperature, config.max_new_tokens))
        return [
            RolloutGroup(question, prompt, [self._judge(question, completion) for completion in completions])
            for question, prompt, completions in zip(batch.items, prompts, groups, strict=True)
        ]

    def _judge(self, question: Question, completion: Completion) -> Rollout:
        choice = extract_choice(completion.text, question.options)
        return Rollout(completion, choice, total_reward(self.rewards, question, completion, choice))
