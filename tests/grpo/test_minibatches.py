import math

import pytest
import torch
from support.helpers import completion, grpo_config, policy_loss, toy_question

from medssr.answers import Choice
from medssr.grpo.advantages import group_advantages, is_nonzero_std
from medssr.grpo.minibatches import make_minibatches
from medssr.grpo.rollouts import Rollout, RolloutGroup, ScoredGroups, make_samples, require_logps


def make(lengths, rewards, loss="dapo", **settings):
    """The minibatches of groups whose completions have the given lengths, each token id encoding group and index."""
    groups = [
        RolloutGroup(
            toy_question(number),
            [1, 2],
            [
                Rollout(completion([10 * number + index] * length), Choice("A", "answer_phrase"), 0.0, 0.0)
                for index, length in enumerate(row)
            ],
        )
        for number, row in enumerate(lengths)
    ]
    rewards = torch.tensor(rewards)
    settings = {"num_prompts_per_step": len(lengths), "max_new_tokens": 100} | settings
    scored = ScoredGroups(groups, make_samples(groups), rewards, is_nonzero_std(rewards))
    return make_minibatches(scored, group_advantages(rewards), policy_loss(loss), grpo_config(**settings))


def names(minibatch):
    return [sample.completion_ids[0] for sample in minibatch.samples]


def test_a_group_without_signal_leaves_the_samples_and_stays_in_the_normalizer():
    (minibatch,) = make([[1, 2], [4, 8], [16, 32]], [[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    assert names(minibatch) == [0, 1, 20, 21]
    assert minibatch.normalizer == 63


@pytest.mark.parametrize(("kind", "normalizer"), [("dapo", 63 - 2), ("grpo", 5), ("dr_grpo", 500)])
def test_a_completion_without_reward_leaves_both(kind, normalizer):
    (minibatch,) = make([[1, 2, 4], [8, 16, 32]], [[1.0, math.nan, 0.0], [1.0, 1.0, 1.0]], loss=kind)
    assert names(minibatch) == [0, 2]
    assert minibatch.advantages == pytest.approx([math.sqrt(0.5), -math.sqrt(0.5)], rel=1e-5)
    assert minibatch.normalizer == normalizer


def test_a_group_with_one_reward_has_no_signal():
    (minibatch,) = make([[1, 2], [4, 8]], [[1.0, math.nan], [0.0, 1.0]])
    assert names(minibatch) == [10, 11]
    assert minibatch.normalizer == 13


def test_minibatches_are_groups_in_their_order_each_with_its_own_normalizer():
    minibatches = make([[1, 2], [4, 8], [16, 32], [64, 128]], [[1.0, 0.0]] * 2 + [[1.0, 1.0]] * 2, minibatch_prompts=2)
    assert [names(minibatch) for minibatch in minibatches] == [[0, 1, 10, 11], []]
    assert [minibatch.normalizer for minibatch in minibatches] == [15, 240]


def test_log_probs_that_are_not_set_are_an_error():
    with pytest.raises(AssertionError):
        require_logps([torch.zeros(1), None])


def test_a_process_without_a_scored_completion_divides_by_no_zero():
    """bnpo takes the mean of each process; a loss of 0 / 0 would have every process skip the step."""
    (minibatch,) = make([[1, 2]], [[math.nan, math.nan]], loss="bnpo")
    assert (minibatch.samples, minibatch.normalizer) == ([], 1.0)
