"""The memory that `--info` computes, against hand-computed sums and against torch's tracker."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.command_lines import ROOT
from support.small_architecture import SMALL

from medssr.models.memory import Load, head_tokens, memory_parts, resting_bytes

# In the small model, a layer has 4 x (10 x 10) + 3 x (10 x 20) + 20 = 1,020 weights and 4 x 10 + 2 x 20 + 10 = 90
# outputs; the model has 2 x 1,000 + 2 x 1,020 + 10 = 4,050 weights.
LOAD = Load(
    architecture=SMALL,
    weight_bytes=2,
    compute_bytes=2,
    num_adapter_parameters=None,
    has_reference=True,
    num_parts=1,
    is_replicated=False,
    micro_batch_tokens=100,
    head_chunk_tokens=10,
    recompute_every=1,
)
LAYER = 4 * 2 * 100 * 90


def test_a_layer_takes_most_when_there_are_many_tokens():
    parts = memory_parts(LOAD)
    assert parts == {
        "weights, gradients, optimiser": 16 * 4_050,
        "reference policy": 2 * 4_050,
        "activations at the border of layers": 4 * 2 * 100 * 10,  # autocast leaves them in float32
        "one layer, recomputed, and its gradients": LAYER,
    }
    assert resting_bytes(LOAD) == (12 + 2) * 4_050
    tied = memory_parts(replace(LOAD, architecture=replace(SMALL, is_tied=True)))
    assert tied["gradient of the head"] == 4 * 1_000


def test_a_moving_average_takes_four_bytes_for_each_trained_weight():
    averaged = replace(LOAD, has_reference=False, has_average=True)
    parts = memory_parts(averaged)
    assert parts["moving average"] == 4 * 4_050
    assert "reference policy" not in parts
    assert resting_bytes(averaged) == (12 + 4) * 4_050
    assert memory_parts(replace(averaged, num_parts=2))["moving average"] == 4 * 4_050 // 2
    assert memory_parts(replace(averaged, num_adapter_parameters=50))["moving average"] == 4 * 50


def test_sharded_weights_are_gathered_to_compute():
    parts = memory_parts(replace(LOAD, num_parts=2))
    assert parts == {
        "weights, gradients, optimiser": 16 * 4_050 // 2,
        "reference policy": 2 * 4_050 // 2,
        "activations at the border of layers": 2 * 2 * 100 * 10,
        "one layer, recomputed, and its gradients": LAYER,
        "weights and gradients of two layers, gathered": (3 * 2 + 4) * 1_020,
        "head and its gradient, gathered": 2 * 2 * 1_000,
    }


def test_the_head_takes_most_when_its_chunks_are_large():
    parts = memory_parts(replace(LOAD, head_chunk_tokens=100))
    assert (parts["logits"], parts["head and its gradient"]) == ((4 + 4 + 2) * 100 * 100, (2 + 2 + 4) * 1_000)
    assert "one layer, recomputed, and its gradients" not in parts


def test_the_optimiser_takes_most_when_there_are_few_tokens():
    parts = memory_parts(replace(LOAD, micro_batch_tokens=1, head_chunk_tokens=1))
    assert parts == {
        "weights, gradients, optimiser": 16 * 4_050,
        "reference policy": 2 * 4_050,
        "optimiser step": 4 * 4_050,
    }


def test_adapters_leave_the_model_as_it_is_loaded():
    load = replace(LOAD, num_adapter_parameters=50, is_replicated=True)
    parts = memory_parts(load)
    assert parts == {
        "frozen weights": 2 * 4_050,
        "adapters, gradients, optimiser": 16 * 50,
        "gradients that processes exchange": 4 * 50,
        "activations at the border of layers": 4 * 100 * 10,
        "one layer, recomputed, and its gradients": LAYER,
    }
    assert resting_bytes(load) == 2 * 4_050 + 12 * 50
    assert memory_parts(replace(load, recompute_every=None))["activations of all layers"] == 2 * LAYER
    every_second = memory_parts(replace(load, recompute_every=2))
    assert every_second["activations of the other layers"] == LAYER
    border = "activations at the border of layers"
    assert every_second[border] == memory_parts(load)[border] / 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        "model=qwen3_8b_base trainer=fsdp2 trainer.devices=8 grpo.head_chunk_tokens=1024",
        "model=qwen3_8b_base trainer=gpu lora=default",
        "model=qwen3_1_7b_base trainer=gpu",
    ],
)
def test_the_sum_is_within_a_tenth_of_torch_s_own(settings):
    """At the widths of the real models with fewer layers; experiments/memory has the whole models."""
    script = ROOT / "experiments" / "memory" / "measure.py"
    words = [*settings.split(), "rollout=vllm", "grpo=large", "optim=large", "model.hub_config.num_hidden_layers=4"]
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["computed"] == pytest.approx(result["tracked"], rel=0.1)


@given(st.integers(0, 2**40), st.integers(1, 300_000), st.sampled_from([2, 4]))
def test_logits_take_a_sixteenth_of_the_free_memory_or_as_few_tokens_as_may_be(free, vocab_size, compute_bytes):
    tokens = head_tokens(free, vocab_size, compute_bytes)
    assert 512 <= tokens <= 8192
    assert tokens % 128 == 0
    assert tokens == 512 or tokens * vocab_size * (8 + compute_bytes) <= free / 16
