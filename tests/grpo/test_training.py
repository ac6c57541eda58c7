"""GRPO with a real Trainer: what a run does to the policy and what it logs."""

from __future__ import annotations

import csv

import pytest
import torch
from support.grpo_runs import Constant, are_equal, fit, metrics, weights
from support.helpers import copy_policy, grpo_config

from medssr.config import KLEstimator, KLPlacement
from medssr.training.checkpoints import LAST, starting_point


def test_training_changes_the_weights_and_logs_every_step(policy, tmp_path):
    before = weights(policy)
    fit(policy, tmp_path)
    assert not are_equal(before, weights(policy))
    with (tmp_path / "metrics.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3
    names = {"reward", "loss", "kl", "entropy", "clip_low_share", "clip_high_share", "grad_norm", "lr"}
    names |= {"all_right_share", "all_wrong_share", "invalid_share", "truncated_share", "completion_tokens"}
    expected = {f"train/{name}" for name in names | {"distinct_answers"}} | {"time/rollout", "time/step"}
    assert expected <= rows[0].keys()
    assert all(row[name] for row in rows for name in expected)


@pytest.mark.slow
def test_the_reward_rises(policy, tmp_path):
    config = grpo_config(num_steps=12, num_prompts_per_step=5, num_generations=8, beta=0.0)
    fit(policy, tmp_path, config)
    rewards = [float(row["train/reward"]) for row in metrics(tmp_path)]
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.1


def test_the_first_step_is_on_policy(policy, tmp_path):
    fit(policy, tmp_path, grpo_config(num_steps=2))
    first, second = metrics(tmp_path)
    assert float(first["train/kl"]) == pytest.approx(0, abs=1e-7) != float(second["train/kl"])
    assert float(first["train/clip_low_share"]) == float(first["train/clip_high_share"]) == 0
    assert [float(row["train/lr"]) for row in (first, second)] == pytest.approx([5e-3, 1e-2])


def test_a_constant_reward_leaves_the_weights_as_they_are(policy, tmp_path):
    before = weights(policy)
    fit(policy, tmp_path, reward=Constant())
    assert are_equal(before, weights(policy))
    rows = metrics(tmp_path)
    assert [float(row["train/reward"]) for row in rows] == [0.5] * 3
    assert [float(row["train/all_right_share"]) for row in rows] == [1.0] * 3


@pytest.mark.slow
def test_the_kl_term_holds_the_policy_to_the_reference(random_policies, tmp_path):
    def distance(beta):
        policy = copy_policy(random_policies["qwen3"])
        fit(policy, tmp_path / str(beta), grpo_config(num_steps=6, beta=beta))
        return float(metrics(tmp_path / str(beta))[-1]["train/kl"])

    assert distance(10.0) < 0.5 * distance(1e-6)


@pytest.mark.slow
def test_the_kl_in_the_reward_holds_the_policy_too(random_policies, tmp_path):
    def distance(beta):
        policy = copy_policy(random_policies["qwen3"])
        config = grpo_config(
            num_steps=8, num_prompts_per_step=5, beta=beta, kl_placement=KLPlacement.reward, kl_estimator=KLEstimator.k1
        )
        fit(policy, tmp_path / str(beta), config)
        return float(metrics(tmp_path / str(beta))[-1]["train/kl"])

    assert abs(distance(10.0)) < 0.5 * abs(distance(1e-6))


@pytest.mark.slow
def test_the_reference_stays_as_it_was_and_out_of_the_checkpoint(policy, tmp_path):
    before = weights(policy)
    module = fit(policy, tmp_path, grpo_config(beta=0.1))
    reference = module.objective.reference
    assert are_equal(before, reference.state_dict())
    assert not any(parameter.requires_grad for parameter in reference.parameters())
    checkpoint = torch.load(starting_point(LAST, tmp_path), weights_only=True)
    assert checkpoint["state_dict"].keys() == {f"model.{name}" for name in before}


@pytest.mark.slow
def test_the_same_run_twice_ends_with_the_same_bits(random_policies, tmp_path):
    policies = [copy_policy(random_policies["qwen3"]) for _ in range(2)]
    for number, policy in enumerate(policies):
        torch.manual_seed(number)  # has no effect, since the seeds of rollouts do not depend on it
        fit(policy, tmp_path / str(number))
    assert are_equal(weights(policies[0]), weights(policies[1]))
    assert metrics(tmp_path / "0") == metrics(tmp_path / "1")


@pytest.mark.slow
def test_the_first_step_of_truncated_completions_is_reported_once(policy, tmp_path, caplog):
    policy.model.generation_config.eos_token_id = None
    fit(policy, tmp_path, grpo_config(num_steps=3))
    assert all(float(row["train/truncated_share"]) > 0.5 for row in metrics(tmp_path))
    messages = [record.message for record in caplog.records if "cut off" in record.message]
    assert len(messages) == 1
    assert "training step 0: 8 of 8" in messages[0]
    assert "Raise grpo.max_new_tokens" in messages[0]
