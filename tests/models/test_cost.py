"""The seconds that `--info` computes, against hand-computed sums and an independent estimate of two workloads."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.command_lines import ROOT
from support.small_architecture import SMALL

from medssr.config.groups import GPU
from medssr.models.architecture import Architecture, architecture_of
from medssr.models.cost import Arrangement, Work, rollout_seconds, step_seconds
from medssr.models.hardware import Hardware, published

# In the small model, a layer multiplies 4 x (10 x 10) + 3 x (10 x 20) = 1,000 weights with each token and has 4 x 10 +
# 2 x 20 + 10 = 90 outputs; two layers 2,000 weights, the head 1,000. A token's attention to another one takes 4 x 2 x
# 2 x 5 = 80 FLOPs, and its keys and values are 2 x 2 x 2 x 5 = 40 numbers.
# A million products and a thousand bytes a second, so that neither is negligible.
SLOW = Hardware("slow", True, 0, float32_flops=0.5e6, bfloat16_flops=1e6, bytes_per_second=1e3, source="")
# All completions have 10 tokens: each attends to 10 x 4 of the prompt and 10 x 10 / 2 of its own.
WORK = Work(2, 4, prompt_tokens=4, completion_tokens=10, longest=10, signal_share=0.5, reward_seconds=0.25)
ONE = Arrangement(
    num_trainers=1,
    num_engines=1,
    engine_devices=1,
    is_vllm=True,
    num_slots=100,
    engine_bytes=2,
    compute_bytes=2,
    num_adapter_parameters=None,
    is_sharded=False,
    num_trained_passes=1,
    num_sampled_passes=0,
    num_iterations=1,
    num_optimizer_steps=1,
    recomputed_share=1.0,
)
# One group with signal: 4 + 4 x 10 tokens in the layers, 40 in the head; 4 x 4 / 2 + 4 x 90 = 368 attended.
LAYER_PRODUCTS = (2 * 2_000 * 44 + 80 * 368) / 1e6
LAYER_ACCESSES = 20 * 2 * 2 * 90 * 44 / 1e3
HEAD_PRODUCTS = 2 * 1_000 * 40 / 1e6
HEAD_ACCESSES = 10 * 4 * 100 * 40 / 1e3


def test_an_update_is_a_forward_and_a_backward_pass_and_what_is_computed_again():
    seconds = step_seconds(SMALL, WORK, ONE, SLOW)
    # Forward, again, and two products for each one in the backward pass.
    update = 4 * LAYER_PRODUCTS + 4 * LAYER_ACCESSES + 4 * HEAD_PRODUCTS + 2 * HEAD_ACCESSES
    assert seconds.update == pytest.approx(update)
    assert seconds.reference == pytest.approx(LAYER_PRODUCTS + LAYER_ACCESSES + HEAD_PRODUCTS + HEAD_ACCESSES)
    assert seconds.reward == pytest.approx(8 * 0.25)
    kept = step_seconds(SMALL, WORK, replace(ONE, recomputed_share=0.0), SLOW).update
    assert kept == pytest.approx(update - LAYER_PRODUCTS - LAYER_ACCESSES)
    half = step_seconds(SMALL, WORK, replace(ONE, recomputed_share=0.5), SLOW).update
    assert half == pytest.approx((update + kept) / 2)
    exact = step_seconds(SMALL, WORK, replace(ONE, compute_bytes=4), SLOW).update
    assert exact == pytest.approx(8 * LAYER_PRODUCTS + 8 * LAYER_ACCESSES + 8 * HEAD_PRODUCTS + 2 * HEAD_ACCESSES)


def test_a_frozen_weight_has_no_product_in_the_backward_pass():
    adapters = replace(ONE, num_adapter_parameters=100)
    seconds = step_seconds(SMALL, WORK, adapters, SLOW)
    products = LAYER_PRODUCTS + 2 * 100 * 44 / 1e6
    assert seconds.update == pytest.approx(3 * products + 4 * LAYER_ACCESSES + 3 * HEAD_PRODUCTS + 2 * HEAD_ACCESSES)
    assert seconds.optimiser == pytest.approx(20 * 4 * 100 / 1e3)
    assert seconds.sync == pytest.approx(1.0 + 4 * 100 / 10e9)


def test_further_passes_and_steps_are_counted():
    twice = replace(ONE, num_trained_passes=2, num_iterations=2, num_optimizer_steps=4)
    one, more = step_seconds(SMALL, WORK, ONE, SLOW), step_seconds(SMALL, WORK, twice, SLOW)
    assert more.reference == pytest.approx(2 * one.reference)
    assert more.update == pytest.approx(2 * one.update)
    assert more.optimiser == pytest.approx(4 * one.optimiser)


def test_passes_before_rewards_compute_all_groups():
    one, more = (step_seconds(SMALL, WORK, replace(ONE, num_sampled_passes=number), SLOW) for number in (0, 1))
    assert more.reference == pytest.approx(3 * one.reference)  # two groups, one of them with signal
    assert more.update == one.update


def test_completions_that_only_vote_are_sampled_and_not_trained_on():
    voting = step_seconds(SMALL, replace(WORK, num_trained=2), ONE, SLOW)
    all_trained, two = (step_seconds(SMALL, replace(WORK, num_generations=number), ONE, SLOW) for number in (4, 2))
    assert voting.rollout == all_trained.rollout
    assert voting.reward == all_trained.reward
    assert (voting.update, voting.reference) == (two.update, two.reference)


def test_dynamic_sampling_replaces_what_has_no_signal():
    # 2 prompts, 1 without signal, 1/2 without signal a second time.
    work = replace(WORK, num_rounds=2)
    assert work.sampled_prompts == [2, 1, 0.5]
    assert work.num_trained_prompts == 2 * (1 - 0.5**3)
    seconds, without = step_seconds(SMALL, work, ONE, SLOW), step_seconds(SMALL, WORK, ONE, SLOW)
    further = [rollout_seconds(SMALL, WORK, number, ONE, SLOW) for number in (1, 0.5)]
    assert further[1] == pytest.approx(further[0] / 2)  # one prompt in every other step
    assert seconds.rollout == pytest.approx(without.rollout + sum(further))
    assert seconds.update == pytest.approx(1.75 * without.update)
    assert seconds.reward == pytest.approx(1.75 * without.reward)
    ahead = step_seconds(SMALL, work, replace(ONE, is_ahead=True), SLOW)
    assert ahead.beside == pytest.approx(without.rollout)
    training = max(ahead.beside, ahead.reference + ahead.update + ahead.optimiser)
    assert ahead.total == pytest.approx(ahead.reward + sum(further) + training + ahead.sync)


def test_decoding_reads_the_weights_for_each_token_and_the_cache_for_each_completion():
    # Ten token steps of 3,000 weights; 8 completions of 90 attended tokens; 80 tokens with 100 logits.
    num_bytes = 10 * 2 * 3_000 + 8 * 90 * 2 * 40 + 80 * 10 * 4 * 100
    flops = 2 * 80 * 3_000 + 8 * 90 * 80 + 8 * (2 * 2_000 + 4 / 2 * 80)
    expected = num_bytes / 1e3 + flops / 1e6 + 10 * 2.5e-3
    assert rollout_seconds(SMALL, WORK, 2, ONE, SLOW) == pytest.approx(expected)
    # Four at a time: the other four extend decoding by 4 x 10 / 4 token steps.
    few = rollout_seconds(SMALL, WORK, 2, replace(ONE, num_slots=4), SLOW)
    assert few == pytest.approx(expected + 10 * (2 * 3_000 / 1e3 + 2.5e-3))


def test_transformers_decodes_one_batch_after_the_other_and_launches_every_operation():
    batches = replace(ONE, is_vllm=False, num_slots=4)
    num_bytes = 20 * 2 * 3_000 + 8 * 90 * 2 * 40 + 80 * 10 * 4 * 100 + (80 + 8) * 20 * 2 * 2 * 90
    flops = 2 * 80 * 3_000 + 8 * 90 * 80 + 8 * (2 * 2_000 + 4 / 2 * 80)
    seconds = rollout_seconds(SMALL, WORK, 2, batches, SLOW)
    assert seconds == pytest.approx(num_bytes / 1e3 + flops / 1e6 + 20 * 2 * 20 * 30e-6)
    on_cpu = rollout_seconds(SMALL, WORK, 2, batches, replace(SLOW, is_gpu=False))
    assert on_cpu == pytest.approx(seconds + 20 * 2 * 3_000 / 1e3)
    assert step_seconds(SMALL, WORK, batches, SLOW).sync == 0


def test_tokens_read_the_experts_that_any_of_them_chose():
    experts = replace(SMALL, num_experts=4, num_active_experts=1, mlp_width=20)
    # Of 4 experts with 600 weights each, 8 completions choose 4 x (1 - 0.75 ** 8) on average.
    read = 2 * (400 + 4 * 10 + 4 * (1 - 0.75**8) * 600) + 1_000
    dense = replace(SMALL, mlp_width=20)
    difference = rollout_seconds(experts, WORK, 2, ONE, SLOW) - rollout_seconds(dense, WORK, 2, ONE, SLOW)
    router = 2 * 2 * 4 * 10 * (80 + 8) / 1e6
    assert difference == pytest.approx(10 * 2 * (read - 3_000) / 1e3 + router)


def test_several_processes_share_the_work_and_the_slowest_counts():
    one, two = (
        step_seconds(SMALL, WORK, replace(ONE, num_trainers=number, num_engines=number), SLOW) for number in (1, 2)
    )
    assert two.update == pytest.approx(1.05 * one.update / 2)
    assert two.reward == pytest.approx(one.reward / 2)
    assert two.optimiser == one.optimiser
    sharded = replace(ONE, num_trainers=2, is_sharded=True)
    assert step_seconds(SMALL, WORK, sharded, SLOW).optimiser == pytest.approx(one.optimiser / 2)
    spread = rollout_seconds(SMALL, WORK, 2, replace(ONE, engine_devices=2), SLOW)
    overhead = 10 * 2.5e-3
    assert spread - overhead == pytest.approx((one.rollout - overhead) / 2)


@given(
    st.integers(1, 64),
    st.integers(2, 16),
    st.floats(1, 1000),
    st.floats(0.1, 1),
    st.floats(0, 1),
    st.booleans(),
)
def test_more_work_takes_longer(prompts, generations, prompt_tokens, share, signal, is_vllm):
    work = Work(prompts, generations, prompt_tokens, 1000 * share, 1000, signal, 0.1)
    arrangement = replace(ONE, is_vllm=is_vllm)
    base = step_seconds(SMALL, work, arrangement, SLOW).total
    assert step_seconds(SMALL, replace(work, num_prompts=prompts + 1), arrangement, SLOW).total > base
    assert step_seconds(SMALL, replace(work, prompt_tokens=prompt_tokens + 1), arrangement, SLOW).total > base
    faster = replace(SLOW, bytes_per_second=2e3, bfloat16_flops=2e6)
    assert step_seconds(SMALL, work, arrangement, faster).total < base


@pytest.mark.parametrize(
    ("work", "rollout", "update", "step"),
    [
        # 128 prompts x 8 completions of 1,000 tokens, the longest 2,048.
        (Work(128, 8, 300, 1000, 2048, 0.6, 4e-4), 20, 17, 43),
        # 32 prompts x 16 completions of 2,000 tokens, the longest 3,072.
        (Work(32, 16, 300, 2000, 3072, 0.6, 4e-4), 29, 17, 55),
    ],
)
def test_eight_h200_train_8b_as_was_estimated_by_hand(work, rollout, update, step):
    """The estimate: 10 ms a token step, a bfloat16 pass at 36% of the published product speed, 3 s for what is left."""
    model = architecture_of("Qwen/Qwen3-8B-Base")
    assert isinstance(model, Architecture)
    arrangement = replace(ONE, num_trainers=8, num_engines=8, num_slots=256, is_sharded=True)
    seconds = step_seconds(model, work, arrangement, published(GPU.H200))
    assert seconds.rollout == pytest.approx(rollout, rel=0.15)
    assert seconds.update + seconds.reference == pytest.approx(update, rel=0.15)
    assert 2 < seconds.sync < 3
    assert seconds.total == pytest.approx(step, rel=0.15)


@pytest.mark.slow
def test_the_table_of_the_page_is_what_the_script_computes():
    """Made anew by `python experiments/performance/cost_table.py --write`."""
    spec = importlib.util.spec_from_file_location("cost_table", ROOT / "experiments/performance/cost_table.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert "\n".join(script.rows()) in (ROOT / "docs/cost.md").read_text(encoding="utf-8")
