"""Toy questions, completions and policies that several test folders build on."""

from __future__ import annotations

from typing import Any

import torch

from medssr.config import GRPOConfig, ScaleRewards
from medssr.models.from_scratch import new_model, train_tokenizer
from medssr.models.policy import Policy
from medssr.questions import Question
from medssr.rollout.types import Completion

ARCHITECTURE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
    # Large, so that the next-token distributions are far from uniform and mistakes show.
    "initializer_range": 0.2,
}
TEXTS = [
    "Which organ makes insulin? A. liver: no. B. pancreas: yes. The answer is B.",
    "Which gene is at fault in Fabry disease? A. GLA: yes. B. HBB: no. The answer is A.",
]


def random_policy(family: str, seed: int = 0) -> Policy:
    """A policy with random weights, the same for the same seed."""
    tokenizer = train_tokenizer(TEXTS, vocab_size=320, family=family)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = new_model(family, ARCHITECTURE, tokenizer)
    return Policy(model.eval(), tokenizer, "{question}")


def toy_question(number: int = 0, answer: str | None = "A", **fields: Any) -> Question:
    """A question with two options whose stem names its number."""
    return Question(
        f"q{number}", f"Which organ is number {number}?", {"A": "liver", "B": "heart"}, answer, "toy", **fields
    )


def completion(token_ids: list[int] | None = None, text: str = "", is_truncated: bool = False) -> Completion:
    """A completion whose log-probabilities do not matter."""
    ids = [1, 2, 3] if token_ids is None else token_ids
    return Completion(ids, [-1.0] * len(ids), text, is_truncated)


def grpo_config(**values: Any) -> GRPOConfig:
    """The settings of a very short stage, but for `values`."""
    defaults: dict[str, Any] = {
        "num_steps": 3,
        "num_prompts_per_step": 2,
        "num_generations": 4,
        "temperature": 1.0,
        "max_new_tokens": 6,
        "micro_batch_tokens": 400,
        "epsilon": 0.2,
        "epsilon_high": 0.28,
        "beta": 0.001,
        "scale_rewards": ScaleRewards.group,
        "max_grad_norm": 1.0,
    }
    return GRPOConfig(**(defaults | values))
