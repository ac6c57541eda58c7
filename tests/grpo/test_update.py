"""The update of a GRPO step: which tokens it counts, how it is split, and each variant of it."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from support.grpo_runs import QUESTIONS, NoisyEngine, SignalFor, are_equal, fit, make_module, metrics, weights
from support.helpers import LOSSES, copy_policy, grpo_config
from torch.optim import SGD, AdamW

from medssr.config import KLPlacement, ScaleRewards
from medssr.grpo.objective import _DUMMY, MicroBatch
from medssr.grpo.rollouts import make_samples
from medssr.models.batching import pad_rollouts
from medssr.models.logprobs import completion_logits


def test_a_group_without_signal_neither_moves_the_policy_nor_enlarges_the_others(random_policies, tmp_path):
    def one_step(name, questions):
        """The change of the weights times the number of tokens that the step is divided by."""
        policy = copy_policy(random_policies["qwen3"])
        before = weights(policy)
        config = grpo_config(num_steps=1, num_prompts_per_step=len(questions), beta=0.0, max_grad_norm=1e9)
        fit(policy, tmp_path / name, config, SignalFor("q1"), questions=questions, optimizer=partial(SGD, lr=1.0))
        num_tokens = float(metrics(tmp_path / name)[0]["train/completion_tokens"]) * 4 * len(questions)
        after = weights(policy)
        return torch.cat([(after[weight] - before[weight]).flatten() for weight in before]) * num_tokens

    alone, beside_another = one_step("alone", [QUESTIONS[1]]), one_step("both", [QUESTIONS[1], QUESTIONS[2]])
    assert alone.norm() > 0
    torch.testing.assert_close(beside_another, alone, rtol=1e-3, atol=1e-3 * alone.abs().max().item())


@pytest.mark.slow
def test_metrics_of_the_update_are_means_over_the_tokens_that_it_saw(random_policies, tmp_path):
    """A group without signal is left out of the forward pass, and so of the mean; it does not count as 0."""

    def first_row(name, questions):
        config = grpo_config(num_steps=1, num_prompts_per_step=len(questions))
        fit(copy_policy(random_policies["qwen3"]), tmp_path / name, config, SignalFor("q1"), questions=questions)
        return metrics(tmp_path / name)[0]

    alone, beside_another = first_row("alone", [QUESTIONS[1]]), first_row("both", [QUESTIONS[1], QUESTIONS[2]])
    assert float(beside_another["train/entropy"]) == pytest.approx(float(alone["train/entropy"]), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plain", "other"),
    [
        ({"micro_batch_tokens": 10**6}, {"micro_batch_tokens": 1}),
        ({"micro_batch_tokens": 10**6}, {"micro_batch_tokens": 150}),
        ({"head_chunk_tokens": None}, {"head_chunk_tokens": 7}),
        ({"head_chunk_tokens": 3}, {"head_chunk_tokens": "auto"}),
        # A model whose attention is not known has padded rows.
        ({"attention": "sdpa"}, {"attention": "eager"}),
    ],
    ids=str,
)
def test_what_saves_memory_does_not_change_the_step(random_policies, tmp_path, plain, other):
    def one_step(name, attention="sdpa", **settings):
        policy = copy_policy(random_policies["qwen3"])
        policy.model.set_attn_implementation(attention)
        config = grpo_config(num_steps=1, num_prompts_per_step=5, **settings)
        module = fit(policy, tmp_path / name, config, optimizer=partial(SGD, lr=1.0))
        assert module.model.config._attn_implementation == {"eager": "eager", "sdpa": "medssr_sdpa"}[attention]
        return weights(policy), metrics(tmp_path / name)[0]

    (expected, expected_row), (actual, row) = one_step("plain", **plain), one_step("other", **other)
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=1e-5, atol=1e-6)
    for name, value in expected_row.items():
        assert float(row[name]) == pytest.approx(float(value), rel=1e-4, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("scale", list(ScaleRewards))
def test_every_scaling_of_rewards_trains(policy, tmp_path, scale):
    before = weights(policy)
    fit(policy, tmp_path, grpo_config(num_steps=1, scale_rewards=scale))
    assert not are_equal(before, weights(policy))


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("minibatch_prompts", [None, 1])
def test_every_loss_trains_with_several_updates_per_rollout(policy, tmp_path, loss, minibatch_prompts):
    before = weights(policy)
    config = grpo_config(num_steps=1, loss=loss, num_iterations=3, minibatch_prompts=minibatch_prompts)
    fit(policy, tmp_path, config, optimizer=partial(SGD, lr=0.1))
    assert not are_equal(before, weights(policy))
    row = metrics(tmp_path)[0]
    assert all(math.isfinite(float(value)) for value in row.values())


@pytest.mark.slow
def test_several_updates_compare_with_the_policy_that_sampled(random_policies, tmp_path):
    """In later updates on the same samples the ratio is not 1, so some tokens are clipped."""

    def first_row(name, **settings):
        policy = copy_policy(random_policies["qwen3"])
        config = grpo_config(loss_values={"epsilon": 0.01, "epsilon_high": 0.01}, num_steps=1, beta=0.0, **settings)
        fit(policy, tmp_path / name, config, optimizer=partial(SGD, lr=1.0))
        return metrics(tmp_path / name)[0]

    for name, settings in {"again": {"num_iterations": 2}, "in parts": {"minibatch_prompts": 1}}.items():
        row = first_row(name, **settings)
        assert float(row["train/clip_low_share"]) + float(row["train/clip_high_share"]) > 0, name
        # The sampling policy is the engine's, whose log-probs equal the trainer's before any update.
        assert float(row["train/logprob_mismatch_max"]) < 1e-4, name
    once = first_row("once")
    assert float(once["train/clip_low_share"]) == float(once["train/clip_high_share"]) == 0


@pytest.mark.slow
def test_minibatches_take_one_optimizer_step_each(random_policies, tmp_path):
    def num_optimizer_steps(name, **settings):
        module = fit(copy_policy(random_policies["qwen3"]), tmp_path / name, grpo_config(num_steps=2, **settings))
        return module.trainer.global_step

    assert num_optimizer_steps("one") == 2
    assert num_optimizer_steps("four", num_iterations=2, minibatch_prompts=1) == 8


@pytest.mark.slow
def test_importance_weights_scale_the_gradient_up_to_the_cap(random_policies, tmp_path):
    """The engine reports exp(-0.5) times each probability: the weights are exp(0.5), or 1.5 with a cap of 1.5."""

    def change(name, shift, **settings):
        policy = copy_policy(random_policies["qwen3"])
        before = weights(policy)
        engine = type("Shifted", (NoisyEngine,), {"shift": shift})
        config = grpo_config(num_steps=1, beta=0.0, max_grad_norm=1e9, **settings)
        fit(policy, tmp_path / name, config, optimizer=partial(SGD, lr=1e-2), engine=engine)
        after = weights(policy)
        return torch.cat([(after[name] - before[name]).flatten() for name in before]), metrics(tmp_path / name)[0]

    plain, off = change("off", -0.5)
    weighted, on = change("on", -0.5, tis_cap=2.0)
    capped, at_cap = change("capped", -0.5, tis_cap=1.5)
    assert ((weighted - plain * math.exp(0.5)).norm() / weighted.norm()).item() < 1e-3
    assert ((capped - plain * 1.5).norm() / capped.norm()).item() < 1e-3
    for row in (off, on, at_cap):  # the mismatch is logged whether or not it is corrected
        assert float(row["train/logprob_mismatch_mean"]) == pytest.approx(0.5, abs=1e-4)
        assert float(row["train/engine_kl"]) == pytest.approx(math.exp(0.5) - 0.5 - 1, abs=1e-4)
    assert [float(row["train/tis_capped_share"]) for row in (off, on, at_cap)] == [0, 0, 1]


@pytest.mark.slow
def test_mixed_precision_keeps_steps_that_bfloat16_weights_would_lose(random_policies, tmp_path):
    """At the learning rate of real models: computed in bfloat16, kept in float32."""
    policy = copy_policy(random_policies["qwen3"])
    fit(policy, tmp_path, grpo_config(), optimizer=partial(AdamW, lr=1e-6), precision="bf16-mixed")
    assert all(math.isfinite(float(row["train/loss"])) for row in metrics(tmp_path))
    before, after = weights(random_policies["qwen3"]), weights(policy)

    def changed_fraction(dtype):
        changes = [before[name].to(dtype).ne(after[name].to(dtype)).flatten() for name in before]
        return torch.cat(changes).float().mean().item()

    assert changed_fraction(torch.float32) > 0.9
    assert changed_fraction(torch.bfloat16) < 0.1


@pytest.mark.slow
def test_without_a_kl_its_placement_changes_nothing(random_policies, tmp_path):
    """Several updates compare with the policy that sampled, also where `kl_placement` is reward and beta is 0."""

    def trained(placement):
        policy = copy_policy(random_policies["qwen3"])
        config = grpo_config(
            loss_values={"epsilon": 0.01, "epsilon_high": 0.01},
            num_steps=1,
            num_iterations=3,
            beta=0.0,
            kl_placement=placement,
        )
        fit(policy, tmp_path / placement.name, config, optimizer=partial(SGD, lr=1.0))
        row = metrics(tmp_path / placement.name)[0]
        return weights(policy), float(row["train/clip_low_share"]) + float(row["train/clip_high_share"])

    (in_loss, clipped), (in_reward, _) = trained(KLPlacement.loss), trained(KLPlacement.reward)
    assert clipped > 0
    assert are_equal(in_loss, in_reward)


def test_the_kl_of_a_dummy_is_computed_on_the_device_of_the_model(random_policies):
    """Processes with fewer samples compute dummies, whose log-probs are on the CPU, wherever the model is."""
    policy = copy_policy(random_policies["qwen3"])
    objective = make_module(policy, grpo_config(beta=0.1), SignalFor("q1"), partial(SGD, lr=1.0)).objective
    elsewhere = torch.zeros(1, 1, device="meta")
    assert objective._kl([_DUMMY], elsewhere, elsewhere).device.type == "meta"


def test_the_entropy_of_the_policy_is_subtracted_from_the_loss(random_policies):
    policy = copy_policy(random_policies["qwen3"])
    module = make_module(policy, grpo_config(entropy_coef=0.5, beta=0.0), SignalFor("q1"), partial(SGD, lr=1.0))
    samples = [sample for row in make_samples(module.rollouts.collect(0, QUESTIONS[:2])) for sample in row]
    # Without advantages, the policy loss is 0.
    loss, statistics = module.objective.loss(MicroBatch(samples, torch.zeros(len(samples)), 100.0, is_last=True))
    loss.backward()
    actual = torch.cat([weight.grad.flatten() for weight in policy.model.parameters() if weight.grad is not None])
    assert loss.item() == pytest.approx(-0.5 * statistics.metrics["entropy"], rel=1e-5)

    policy.model.zero_grad()
    prompts, completions = [sample.prompt_ids for sample in samples], [sample.completion_ids for sample in samples]
    batch = pad_rollouts(prompts, completions, pad_id=0)
    logits = completion_logits(policy.model, batch, module.config.temperature)
    by_token = torch.distributions.Categorical(logits=logits).entropy()
    (-0.5 * (by_token * batch.completion_mask).sum() / 100.0).backward()
    expected = torch.cat([weight.grad.flatten() for weight in policy.model.parameters() if weight.grad is not None])
    assert expected.norm() > 0
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-6)
