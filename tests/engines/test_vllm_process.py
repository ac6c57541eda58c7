"""Start and end of the engine with the real vLLM, and its messages if it cannot start."""

from __future__ import annotations

import gc
import importlib.util
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import numpy as np
import psutil
import pytest
import torch
import torch.distributed as dist
from support.helpers import random_policy
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from medssr.config import Dtype, LoRAConfig
from medssr.engines import vllm_installation, vllm_process
from medssr.engines.hf_engine import HFEngine
from medssr.engines.types import RolloutEngine, Sampling
from medssr.engines.vllm_engine import VLLMEngine
from medssr.errors import InputError
from medssr.models.lora import add_adapters
from medssr.models.policy import Policy
from medssr.utils.processes import gather_objects

NEEDS_VLLM = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make test-vllm"),
]
SETTINGS = {
    "max_num_seqs": 64,
    "max_model_len": None,
    "gpu_memory_utilization": 0.3,
    "cpu_kv_cache_gib": 0.1,
    "sleep": True,
    "max_logp_gap": 0.1,
}
PROMPTS = [[5, 6, 7] * 60, [8, 9] * 80]
SEEDS = [[1, 2], [3, 4]]
SAMPLING = Sampling(1.0, 10)


def _dtypes(model: Any) -> list[torch.dtype]:
    return [weight.dtype for weight in model.parameters()]


@pytest.fixture
def make() -> Iterator[Callable[..., VLLMEngine]]:
    """Creates engines, which are closed at the end of the test."""
    with ExitStack() as opened:

        def make_engine(policy: Policy, **settings: Any) -> VLLMEngine:
            return opened.enter_context(closing(VLLMEngine(policy, **(SETTINGS | settings))))

        yield make_engine


@pytest.fixture
def tied_policy() -> Policy:
    return random_policy("qwen3", head_dim=32, hidden_size=64)


def token_ids(engine: RolloutEngine, sampling: Sampling = SAMPLING) -> list[list[list[int]]]:
    groups = engine.generate(PROMPTS, SEEDS, sampling)
    return [[item.token_ids for item in group] for group in groups]


def test_without_vllm_the_message_says_how_to_get_it(make, policy, monkeypatch):
    monkeypatch.setattr(vllm_installation, "_installed_version", lambda: None)
    with pytest.raises(
        InputError, match=r"vLLM is not installed.*--editable '\.\[vllm\]'.*make setup-vllm.*rollout=hf"
    ):
        make(policy)


@pytest.mark.slow
def test_a_vllm_that_cannot_be_loaded_is_named_with_what_to_do(make, policy, monkeypatch):
    monkeypatch.setattr(vllm_installation, "_installed_version", lambda: "0.32.0")
    monkeypatch.setitem(sys.modules, "vllm", None)
    engine = make(policy)
    for _ in range(2):  # the first attempt leaves no state behind
        with pytest.raises(InputError, match=r"vLLM did not start: .*another torch.*make setup-vllm.*rollout=hf"):
            engine.generate([[5]], [[1]], Sampling(1.0, 10))


@pytest.mark.parametrize(
    ("version", "is_too_old"), [("0.9.2", True), ("0.31.0", True), ("0.32.0", False), ("1.0", False)]
)
def test_an_old_vllm_is_refused_before_it_is_loaded(make, policy, monkeypatch, version, is_too_old):
    monkeypatch.setattr(vllm_installation, "_installed_version", lambda: version)
    if is_too_old:
        with pytest.raises(InputError, match=rf"vLLM {version} is installed.*'vllm>=0.32'"):
            make(policy)
    else:
        make(policy)


def test_a_context_that_the_model_lacks_is_refused(make, policy):
    with pytest.raises(InputError, match=r"rollout.max_model_len: 513; .* 512 tokens"):
        make(policy, max_model_len=513)


def test_a_rank_that_vllm_cannot_take_is_refused(make, policy, monkeypatch):
    monkeypatch.setattr(vllm_installation, "_installed_version", lambda: "0.32.0")
    add_adapters(policy.model, LoRAConfig(rank=513, alpha=8, target_modules=["q_proj"]), seed=0)
    with pytest.raises(InputError, match=r"^lora\.rank: 513; vLLM takes up to 512"):
        make(policy)


def test_what_does_not_fit_the_context_is_refused_before_the_start(make, policy, monkeypatch):
    monkeypatch.setattr(vllm_installation, "_installed_version", lambda: "0.32.0")
    engine = make(policy, max_model_len=100)
    with pytest.raises(InputError, match=r"max_model_len is 100; a prompt of 91 tokens .* 10 need 101"):
        engine.generate([[5] * 91], [[1]], Sampling(1.0, 10))


def test_a_length_above_the_limit_is_refused_when_it_is_reserved(make, policy, monkeypatch):
    monkeypatch.setattr(vllm_installation, "_installed_version", lambda: "0.32.0")
    with pytest.raises(InputError, match=r"rollout.max_model_len: 100; .* need 101"):
        make(policy, max_model_len=100).reserve(lambda: 101)


@pytest.mark.parametrize("temperature", [0.001, 2.5])
def test_a_temperature_that_vllm_would_change_or_refuse_is_refused(make, policy, monkeypatch, temperature):
    monkeypatch.setattr(vllm_installation, "_installed_version", lambda: "0.32.0")
    with pytest.raises(InputError, match=rf"temperature {temperature}; vLLM takes 0.01 to 2, and 0"):
        make(policy).generate([[5]], [[1]], Sampling(temperature, 10))


class TestStart:
    pytestmark = NEEDS_VLLM

    def test_the_trainer_keeps_its_random_numbers_its_threads_and_its_environment(self, make, tied_policy):
        random.seed(3), np.random.seed(3), torch.manual_seed(3)
        expected = [random.random(), np.random.rand(), torch.rand(1)]
        environment, num_threads = dict(os.environ), torch.get_num_threads()
        memory = psutil.Process().memory_info().rss
        random.seed(3), np.random.seed(3), torch.manual_seed(3)
        engine = make(tied_policy, cpu_kv_cache_gib=1)
        first = token_ids(engine)
        engine.sync_weights(tied_policy.model)
        assert [random.random(), np.random.rand(), torch.rand(1)] == expected
        assert torch.get_num_threads() == num_threads
        torch.set_num_threads(num_threads + 1)
        assert torch.get_num_threads() == num_threads + 1
        torch.set_num_threads(num_threads)
        engine.close()
        assert dict(os.environ) == environment
        assert not torch.distributed.is_initialized()
        gc.collect()
        assert psutil.Process().memory_info().rss - memory < 0.7 * 2**30  # the libraries, but not the cache

        again = make(tied_policy)
        assert token_ids(again) == first

    def test_with_adapters_it_samples_from_the_newest(self, make, tied_policy):
        add_adapters(tied_policy.model, LoRAConfig(rank=4, alpha=8, target_modules=None), seed=0)
        engine = make(tied_policy)
        greedy = Sampling(0.0, 10)
        before = token_ids(engine, greedy)
        with torch.no_grad():
            for name, weight in tied_policy.model.named_parameters():
                if "lora_B" in name:  # zero at the start
                    weight.normal_(std=0.5, generator=torch.Generator().manual_seed(0))
        engine.sync_weights(tied_policy.model)
        assert before != token_ids(engine, greedy) == token_ids(HFEngine(tied_policy, 8), greedy)

    def test_without_the_tied_head_packed_anew_the_run_stops(self, make, tied_policy, monkeypatch):
        monkeypatch.setattr(vllm_process, "_rebuild_head", lambda model: None)
        engine = make(tied_policy)
        with pytest.raises(InputError, match=r"vLLM's log-probs differ .* nats per token"):
            token_ids(engine)

    def test_the_trainers_process_group_outlives_it(self, make, tied_policy, tmp_path):
        dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
        try:
            weight = distribute_tensor(torch.arange(4.0), init_device_mesh("cpu", (1,)), [Shard(0)])
            group = dist.distributed_c10d._get_default_group()
            for _ in range(2):
                engine = make(tied_policy)
                token_ids(engine)
                assert dist.distributed_c10d._get_default_group() is group
                engine.close()
            assert weight.full_tensor().tolist() == [0, 1, 2, 3]
            assert gather_objects("here") == ["here"]
            assert dist.get_world_size(dist.new_group()) == 1
        finally:
            dist.destroy_process_group()

    def test_weights_trained_in_float32_are_sampled_from_in_the_configured_dtype(self, make, tied_policy):
        engine = make(replace(tied_policy, dtype=Dtype.bfloat16))
        sample = engine.generate(PROMPTS, SEEDS, SAMPLING)
        assert set(engine._process.llm.apply_model(_dtypes)[0]) == {torch.bfloat16}
        assert tied_policy.model.dtype is torch.float32
        assert 1e-4 < engine.sync_weights(tied_policy.model) < 0.1
        assert [len(group) for group in sample] == [2, 2]

    def test_a_longer_request_makes_it_start_with_a_longer_context(self, make, tied_policy):
        engine = make(tied_policy, max_model_len=400)
        before = token_ids(engine)
        assert engine._process.llm.llm_engine.vllm_config.model_config.max_model_len == 256
        engine.generate([[5] * 280], [[1]], SAMPLING)
        assert engine._process.llm.llm_engine.vllm_config.model_config.max_model_len == 400
        assert token_ids(engine) == before

    def test_a_sync_that_does_nothing_is_seen_after_one_small_step(self, make, tied_policy, monkeypatch):
        engine = make(tied_policy)
        engine.sync_weights(tied_policy.model)
        optimizer = torch.optim.AdamW(tied_policy.model.parameters(), lr=1e-6)
        tied_policy.model(torch.tensor([PROMPTS[0]]), labels=torch.tensor([PROMPTS[0]])).loss.backward()
        optimizer.step()
        with monkeypatch.context() as patch:
            patch.setattr(engine._process.llm, "collective_rpc", lambda *args, **kwargs: None)
            with pytest.raises(InputError, match=r"was given the trainer's new weights, but .* is the old one"):
                engine.sync_weights(tied_policy.model)
        assert engine.sync_weights(tied_policy.model) < 1e-5

    @pytest.mark.parametrize("gib", [0.0001, 0.0002, 10_000])
    def test_a_cache_of_a_wrong_size_names_its_setting(self, make, tied_policy, gib):
        engine = make(tied_policy, cpu_kv_cache_gib=gib)
        with pytest.raises(InputError, match=r"vLLM did not start: .*Change rollout.cpu_kv_cache_gib"):
            token_ids(engine)

    def test_a_model_that_vllm_does_not_know_is_named(self, make, tied_policy):
        tied_policy.model.__class__ = type("HomeMadeForCausalLM", (type(tied_policy.model),), {})
        engine = make(tied_policy)
        with pytest.raises(InputError, match=r"vLLM did not start: .*HomeMadeForCausalLM.*rollout=hf"):
            token_ids(engine)
