"""vLLM and the trainer give the tokens of a pretrained model the same log-probs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
import torch
from support.helpers import SMALL_VLLM, typed

from medssr.config import LoRAConfig
from medssr.engines.types import Completion, Sampling
from medssr.engines.vllm_engine import VLLMEngine
from medssr.models.batching import pad_rollouts
from medssr.models.logprobs import completion_logps
from medssr.models.lora import add_adapters
from medssr.models.policy import Policy, load_policy

pytestmark = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="no vLLM here: make test-vllm")

SAMPLING = Sampling(temperature=1.0, max_new_tokens=16)


@pytest.fixture
def start() -> Iterator[Callable[[Policy], VLLMEngine]]:
    """Starts an engine for a policy; it is closed at the end of the test."""
    with ExitStack() as opened:
        yield lambda policy: opened.enter_context(closing(VLLMEngine(policy, **SMALL_VLLM)))


def load(folder, dtype: str) -> Policy:
    return load_policy(typed("evaluate", "model=local", f"model.path={folder}", f"model.dtype={dtype}").model)


def sample(policy: Policy, engine: VLLMEngine, questions) -> tuple[list[list[int]], list[Completion]]:
    """Four prompts with four completions each, as a row for each completion."""
    prompts = policy.encode(questions[::4], SAMPLING.max_new_tokens, "the built-in questions")
    seeds = [[10 * row + column for column in range(4)] for row in range(len(prompts))]
    groups = engine.generate(prompts, seeds, SAMPLING)
    pairs = [(prompt, item) for prompt, group in zip(prompts, groups, strict=True) for item in group]
    return [prompt for prompt, _ in pairs], [item for _, item in pairs]


@torch.no_grad()
def gaps(policy: Policy, prompts: list[list[int]], completions: list[Completion]) -> torch.Tensor:
    """How much the log-probs of each sampled token differ, in nats."""
    rows = [item.token_ids for item in completions]
    batch = pad_rollouts(prompts, rows, policy.tokenizer.pad_token_id, policy.model.device)
    logps = completion_logps(policy.model, batch, SAMPLING.temperature)
    return torch.cat(
        [
            (row[: len(item.logps)] - torch.tensor(item.logps)).abs()
            for row, item in zip(logps, completions, strict=True)
        ]
    )


# In bfloat16 a mean of 0.03 to 0.05 nats, by the processor, is what rounding does to thirty layers.
@pytest.mark.parametrize(("dtype", "mean", "largest"), [("float32", 1e-4, 1e-3), ("bfloat16", 0.1, 1.0)])
def test_the_sampled_tokens_have_the_trainers_log_probs(dtype, mean, largest, folder, questions, start):
    policy = load(folder, dtype)
    difference = gaps(policy, *sample(policy, start(policy), questions))
    assert len(difference) > 100
    assert difference.mean() < mean
    assert difference.max() < largest


def test_trained_adapters_reach_the_engine(folder, questions, start):
    policy = load(folder, "float32")
    add_adapters(policy.model, LoRAConfig(rank=4, alpha=8, target_modules=None), seed=0)
    engine = start(policy)
    prompts, completions = sample(policy, engine, questions)
    with torch.no_grad():
        for name, weight in policy.model.named_parameters():
            if "lora_B" in name:  # zero at the start
                weight.normal_(std=0.02, generator=torch.Generator().manual_seed(weight.shape[0]))
    assert gaps(policy, prompts, completions).mean() > 0.01
    engine.sync_weights(policy.model)
    assert gaps(policy, *sample(policy, engine, questions)).max() < 1e-3
