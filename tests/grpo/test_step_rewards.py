"""Rewards of a step: unscored, truncated and over-long completions, and the KL in the reward."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from support.grpo_runs import QUESTIONS, Constant, EvenTokens, SilentOn, are_equal, fit, make_module, metrics, weights
from support.helpers import grpo_config
from torch.optim import SGD

from medssr.config import KLEstimator, KLPlacement, Truncated
from medssr.errors import InputError
from medssr.grpo.advantages import step_rewards


def test_a_reward_of_none_is_unknown_and_not_zero(policy):
    module = make_module(policy, grpo_config(), EvenTokens(), partial(SGD, lr=1.0))
    first, *others = module.rollouts.collect(0, QUESTIONS[:1])[0].rollouts
    judges = {"known": EvenTokens(), "partly": SilentOn({first.completion.token_ids[0]})}
    groups = replace(module.rollouts, rewards=judges).collect(0, QUESTIONS[:1])
    rewards = step_rewards(groups, module.config, None)[0].tolist()
    assert math.isnan(rewards[0])
    for before, reward in zip(others, rewards[1:], strict=True):
        is_silent = before.completion.token_ids[0] == first.completion.token_ids[0]
        assert math.isnan(reward) if is_silent else reward == pytest.approx(2 * before.reward)


def test_a_step_in_which_nothing_can_be_scored_leaves_the_weights(policy, tmp_path):
    before = weights(policy)
    with pytest.raises(InputError, match=r"reward\.reward: scored no completion of 3 steps in a row"):
        fit(policy, tmp_path, reward=SilentOn(range(10**6)))
    assert are_equal(before, weights(policy))
    row = metrics(tmp_path)[0]
    assert (float(row["train/unscored_share"]), float(row["train/frac_nonzero_std"])) == (1, 0)
    assert math.isnan(float(row["train/reward"]))


def test_masked_truncated_completions_leave_their_group(policy):
    config = grpo_config(truncated=Truncated.mask, num_prompts_per_step=5, max_new_tokens=12)
    # A third of all tokens end a completion, so that some completions are truncated and some are not.
    policy.model.generation_config.eos_token_id = list(range(0, 320, 9))
    module = make_module(policy, config, EvenTokens(), partial(SGD, lr=1.0))
    groups = module.rollouts.collect(0, QUESTIONS)
    is_cut = torch.tensor([[rollout.completion.is_truncated for rollout in group.rollouts] for group in groups])
    assert 0 < is_cut.sum() < is_cut.numel()
    masked = step_rewards(groups, config, None)
    assert torch.equal(masked.isnan(), is_cut)
    kept = step_rewards(groups, replace(config, truncated=Truncated.keep), None)
    assert torch.equal(masked[~is_cut], kept[~is_cut])


def test_every_end_token_ends_a_completion(policy):
    """If only one of several end tokens were recognised, almost all completions would count as truncated."""
    policy.model.generation_config.eos_token_id = list(range(320))
    module = make_module(policy, grpo_config(), EvenTokens(), partial(SGD, lr=1.0))
    rollouts = module.rollouts.collect(0, QUESTIONS[:1])[0].rollouts
    assert [len(rollout.completion.token_ids) for rollout in rollouts] == [1] * 4
    assert not any(rollout.completion.is_truncated for rollout in rollouts)


def test_overlong_completions_lose_reward(policy):
    config = grpo_config(overlong_buffer=4, overlong_penalty=0.5)
    module = make_module(policy, config, Constant(), partial(SGD, lr=1.0))
    groups = module.rollouts.collect(0, QUESTIONS[:1])
    lengths = [len(rollout.completion.token_ids) for rollout in groups[0].rollouts]
    # Nothing up to 2 of 6 tokens, 0.5 at 6.
    expected = [0.5 - 0.5 * max(0, length - 2) / 4 for length in lengths]
    assert step_rewards(groups, config, None).tolist() == [pytest.approx(expected)]


def test_the_kl_in_the_reward_is_taken_off_each_completion(policy):
    config = grpo_config(beta=0.5, kl_placement=KLPlacement.reward, kl_estimator=KLEstimator.k1)
    module = make_module(policy, config, Constant(), partial(SGD, lr=1.0))
    with torch.no_grad():
        for parameter in module.objective.reference.parameters():
            parameter.mul_(1.05)
    scored = module.roll_out(0, QUESTIONS[:1])
    groups, rewards = scored.groups, scored.rewards
    for reward, rollout in zip(rewards[0].tolist(), groups[0].rollouts, strict=True):
        tokens = rollout.completion.token_ids
        ids = torch.tensor([groups[0].prompt_ids + tokens])
        with torch.no_grad():
            ours, reference = (
                model(ids).logits[0, -len(tokens) - 1 : -1].log_softmax(dim=-1).gather(-1, ids[0, -len(tokens) :, None])
                for model in (policy.model, module.objective.reference)
            )
        assert reward == pytest.approx(0.5 - 0.5 * (ours - reference).sum().item(), rel=1e-4)
        assert reward != pytest.approx(0.5)


class Right:
    """A label reward that is 0 for every completion."""

    weight = 1.0
    decides_signal = True

    def __call__(self, question, completion, choice):
        return 0.0


def with_rewards(module, **rewards):
    module.rollouts = replace(module.rollouts, rewards=rewards)
    return module


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"overlong_buffer": 5, "overlong_penalty": 0.5},
        {"beta": 0.5, "kl_placement": KLPlacement.reward, "kl_estimator": KLEstimator.k1},
    ],
    ids=["form", "over-long", "KL in the reward"],
)
def test_a_group_whose_completions_are_all_wrong_has_no_signal(policy, settings):
    """Other rewards differ within the group; scaled by their deviation, they would become full advantages."""
    policy.model.generation_config.eos_token_id = list(range(0, 320, 9))  # lengths differ
    module = make_module(policy, grpo_config(**settings), Right(), partial(SGD, lr=1.0))
    if "beta" in settings:
        with torch.no_grad():
            for parameter in module.objective.reference.parameters():
                parameter.mul_(1.05)
    scored = with_rewards(module, label=Right(), form=EvenTokens()).roll_out(0, QUESTIONS[:3])
    assert (scored.rewards.std(dim=1) > 0).all()
    assert scored.has_signal.tolist() == [False] * 3


def test_without_a_reward_for_the_label_all_rewards_decide(policy):
    module = make_module(policy, grpo_config(), EvenTokens(), partial(SGD, lr=1.0))
    scored = with_rewards(module, form=EvenTokens(), other=Constant()).roll_out(0, QUESTIONS[:3])
    assert scored.has_signal.tolist() == (scored.rewards.std(dim=1) > 0).tolist() == [True] * 3


def test_signal_is_decided_among_the_completions_that_are_scored(policy):
    """The label's reward differs only for a completion that another reward could not score."""
    module = make_module(policy, grpo_config(), EvenTokens(), partial(SGD, lr=1.0))
    first = module.roll_out(0, QUESTIONS[:1]).groups[0].rollouts[0].completion.token_ids[0]

    class RightForOne(Right):
        def __call__(self, question, completion, choice):
            return float(completion.token_ids[0] == first)

    silent = with_rewards(module, label=RightForOne(), form=SilentOn({first})).roll_out(0, QUESTIONS[:1])
    assert silent.rewards.isnan().any()
    assert silent.has_signal.tolist() == [False]


def test_groups_without_signal_change_no_weight_although_their_rewards_differ(policy, tmp_path):
    module = make_module(policy, grpo_config(num_steps=1), Right(), partial(SGD, lr=1.0))
    before = weights(policy)
    fit(policy, tmp_path, grpo_config(num_steps=1), module=with_rewards(module, label=Right(), form=EvenTokens()))
    assert are_equal(before, weights(policy))
    row = metrics(tmp_path)[0]
    assert float(row["train/frac_nonzero_std"]) == 0
    assert float(row["train/advantage_max"]) == float(row["train/advantage_min"]) == 0
