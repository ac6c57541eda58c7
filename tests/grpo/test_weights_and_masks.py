"""What the weight of a question and the mask of a completion's tokens do in every loss and in the normaliser."""

from __future__ import annotations

import pytest
import torch
from support.grpo_runs import EvenTokens, make_module
from support.helpers import LOSSES, completion, grpo_config, policy_loss, toy_question
from support.losses import step_loss
from torch.optim import AdamW

from medssr.answers import Choice
from medssr.grpo.advantages import group_advantages, is_nonzero_std
from medssr.grpo.minibatches import make_minibatches
from medssr.grpo.objective import MicroBatch
from medssr.grpo.rollouts import Rollout, RolloutGroup, Sample, ScoredGroups, make_samples

# Rows of 4 tokens, of which the mask leaves 2, and of 1 token; questions of weight 3 and 1/2; 6 tokens at most.
BY_HAND = {
    "dapo": (3 / 6.5, 0.5 / 6.5),
    "bnpo": (3 / 6.5, 0.5 / 6.5),
    "ppo": (3 / 6.5, 0.5 / 6.5),
    "cispo": (3 / 6.5, 0.5 / 6.5),
    "grpo": (3 / 2 / 3.5, 0.5 / 3.5),
    "gspo": (3 / 2 / 3.5, 0.5 / 3.5),
    "sapo": (3 / 2 / 3.5, 0.5 / 3.5),
    "dr_grpo": (3 / 21, 0.5 / 21),
}
GENERATOR = torch.Generator().manual_seed(0)
LOGPS = -torch.rand(3, 5, generator=GENERATOR)
OLD_LOGPS = LOGPS + 0.4 * torch.randn(3, 5, generator=GENERATOR)
REF_LOGPS = LOGPS + 0.4 * torch.randn(3, 5, generator=GENERATOR)
ADVANTAGES = torch.tensor([1.0, -0.5, 0.7])
MASK = torch.tensor([[1.0, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]])


def gradient(kind, rows, columns=None, mask=MASK, **settings):
    """The gradient of the loss of some rows of the inputs by the log-probs of all, with the KL term."""
    logps = LOGPS.clone().requires_grad_()
    inputs = [value if columns is None else value.gather(1, columns) for value in (logps, OLD_LOGPS, REF_LOGPS)]
    old, reference = inputs[1][rows], inputs[2][rows]
    loss, _ = step_loss(
        inputs[0][rows], old, ADVANTAGES[rows], mask[rows], kind, ref_logps=reference, beta=0.3, max_new_tokens=6,
        **settings,
    )  # fmt: skip
    return torch.autograd.grad(loss, logps)[0]


@pytest.mark.parametrize("kind", LOSSES)
def test_what_a_token_weighs_by_hand(kind):
    loss = policy_loss(kind)
    mask = torch.tensor([[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    logps = torch.zeros(2, 4, requires_grad=True)
    advantages, weights = torch.tensor([-1.0, -1.0]), torch.tensor([3.0, 0.5])
    total, _ = step_loss(logps, logps.detach(), advantages, mask, kind, question_weights=weights, max_new_tokens=6)
    (token_gradient,) = torch.autograd.grad(total, logps)
    first, second = BY_HAND[kind]
    assert token_gradient.flatten().tolist() == pytest.approx([first, 0, first, 0, second, 0, 0, 0])
    assert loss.normalizer([2, 1], 6, [3.0, 0.5]) == pytest.approx(
        {"dr_grpo": 21, "grpo": 3.5, "gspo": 3.5, "sapo": 3.5}.get(kind, 6.5)
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", LOSSES)
def test_a_question_of_weight_n_counts_as_n_copies_and_one_of_weight_0_as_none(kind):
    weighted = gradient(kind, [0, 1, 2], question_weights=torch.tensor([3.0, 0.0, 1.0]))
    torch.testing.assert_close(weighted, gradient(kind, [0, 0, 0, 2]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", LOSSES)
def test_a_masked_token_counts_as_if_it_were_not_there(kind):
    mask = MASK.clone()
    mask[:, 1] = 0
    # The tokens behind the masked one move up by one column, and the masked one becomes padding.
    columns = torch.tensor([0, 2, 3, 4, 1]).expand(3, 5)
    shorter = torch.tensor([[1.0, 1, 1, 1, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0]])
    torch.testing.assert_close(gradient(kind, [0, 1, 2], mask=mask), gradient(kind, [0, 1, 2], columns, shorter))


@pytest.mark.slow
@pytest.mark.parametrize("kind", LOSSES)
def test_weights_of_1_are_no_weights_bit_for_bit(kind):
    assert torch.equal(gradient(kind, [0, 1, 2], question_weights=torch.ones(3)), gradient(kind, [0, 1, 2]))


def scored(*groups):
    """Scored groups of (weight, masks, rewards) whose completions have two tokens each."""
    made = [
        RolloutGroup(
            toy_question(number),
            [1, 2],
            [
                Rollout(completion([number, index]), Choice("A", ""), 0.0, 0.0, token_mask=mask)
                for index, mask in enumerate(masks)
            ],
            weight=weight,
        )
        for number, (weight, masks, _) in enumerate(groups)
    ]
    rewards = torch.tensor([row for _, _, row in groups])
    return ScoredGroups(made, make_samples(made), rewards, is_nonzero_std(rewards))


@pytest.mark.parametrize(("kind", "normalizer"), [("dapo", 5 * 0.5 + 3 * 2), ("grpo", 3 * 0.5 + 2 * 2)])
def test_minibatches_take_weights_and_masks_into_the_normalizer(kind, normalizer):
    none, half = (False, False), (True, False)
    groups = scored(
        (0.5, [None, half, None], [1.0, 0.0, 0.0]),
        (2.0, [None, half, none], [1.0, 0.0, 0.0]),  # the completion without a trained token counts nowhere
        (0.0, [None, None, None], [1.0, 0.0, 0.0]),  # nor does a question of weight 0
    )
    (minibatch,) = make_minibatches(
        groups, group_advantages(groups.rewards), policy_loss(kind), grpo_config(num_prompts_per_step=3)
    )
    assert [tuple(sample.completion_ids) for sample in minibatch.samples] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert minibatch.normalizer == normalizer


def test_the_objective_counts_weights_and_masks_in_loss_and_metrics(policy):
    module = make_module(policy, grpo_config(beta=0.0), EvenTokens(), AdamW)
    objective = module.objective

    def sample(**fields):
        return Sample("q", [5, 6, 7], [20, 21, 22], torch.zeros(3), **fields)

    def gradient_of(*samples):
        policy.model.zero_grad()
        loss, statistics = objective.loss(MicroBatch(list(samples), torch.ones(len(samples)), 6.0, is_last=True))
        loss.backward()
        return torch.cat([weight.grad.flatten() for weight in policy.model.parameters()]), statistics

    plain, _ = gradient_of(sample())
    twice, _ = gradient_of(sample(weight=2.0))
    torch.testing.assert_close(twice, 2 * plain)
    parts = [gradient_of(sample(token_mask=torch.arange(3) == index)) for index in range(3)]
    torch.testing.assert_close(sum(part for part, _ in parts), plain)
    whole_entropy = gradient_of(sample())[1].metrics["entropy"]
    assert sum(statistics.metrics["entropy"] for _, statistics in parts) == pytest.approx(whole_entropy)
    same, _ = gradient_of(sample(token_mask=torch.ones(3, dtype=torch.bool)))
    assert torch.equal(same, plain)
