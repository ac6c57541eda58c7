"""RENT and Intuitor: by hand, and against slow versions that go through the vocabulary token by token."""

from __future__ import annotations

import math
from array import array

import pytest
import torch
from support.helpers import completion, toy_question

from medssr.answers import Choice
from medssr.grpo.advantages import group_advantages
from medssr.models.token_scores import token_entropies, token_logps, token_mean_logps
from medssr.rewards.certainty import NegativeEntropy, SelfCertainty
from medssr.rewards.groups import GroupInput, TokenStatistics
from medssr.rewards.scoring import traits_of

LOGITS = 2 * torch.randn(3, 5, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
IDS = torch.randint(0, 11, (3, 5), generator=torch.Generator().manual_seed(1))


def group(statistics, letters="AAA"):
    return GroupInput(
        toy_question(answer=None),
        [completion(list(range(len(item.logps)))) for item in statistics],
        [Choice(None if letter == "-" else letter, "") for letter in letters],
        statistics=statistics,
    )


def statistics_of(logits, ids):
    columns = token_logps(logits, ids), token_entropies(logits), token_mean_logps(logits)
    return [TokenStatistics(*(array("d", column[row].tolist()) for column in columns)) for row in range(len(logits))]


def entropy_in_loops(logits):
    """RENT: minus the entropy of each token's distribution, a sum over the vocabulary, averaged over tokens."""
    total = 0.0
    for row in logits.tolist():
        scores = [math.exp(value) for value in row]
        for score in scores:
            chance = score / sum(scores)
            total += chance * math.log(chance)
    return total / len(logits)


def divergence_in_loops(logits):
    """Intuitor: KL(U || p) of each token's distribution, a sum over the vocabulary, averaged over tokens."""
    total = 0.0
    for row in logits.tolist():
        scores = [math.exp(value) for value in row]
        for score in scores:
            uniform = 1 / len(row)
            total += uniform * math.log(uniform / (score / sum(scores)))
    return total / len(logits)


def test_entropy_and_self_certainty_by_hand():
    """Two tokens of a vocabulary of two: certain to 3/4, and even."""
    logits = torch.tensor([[[0.0, math.log(3.0)], [0.0, 0.0]]], dtype=torch.float64)
    seen = group(statistics_of(logits, torch.tensor([[1, 0]])), "A")
    entropies = -(math.log(1 / 4) / 4 + 3 * math.log(3 / 4) / 4), math.log(2)
    assert NegativeEntropy(1.0, -7.0).score_group(seen).rewards == pytest.approx([-sum(entropies) / 2])
    certainties = -(math.log(1 / 4) + math.log(3 / 4)) / 2, math.log(2)
    assert SelfCertainty(1.0).score_group(seen).rewards == pytest.approx([sum(certainties) / 2])


def test_rent_is_that_of_a_slow_version():
    rewards = NegativeEntropy(1.0, -7.0).score_group(group(statistics_of(LOGITS, IDS))).rewards
    assert rewards == pytest.approx([entropy_in_loops(row) for row in LOGITS])


def test_intuitor_is_that_of_a_slow_version_but_for_a_constant_that_advantages_do_not_see():
    rewards = SelfCertainty(1.0).score_group(group(statistics_of(LOGITS, IDS))).rewards
    expected = [divergence_in_loops(row) for row in LOGITS]
    assert rewards == pytest.approx([value + math.log(11) for value in expected])
    advantages = group_advantages(torch.tensor([rewards, expected]))
    torch.testing.assert_close(advantages[0], advantages[1])


def test_an_unreadable_answer_has_the_lowest_entropy_reward_and_its_own_self_certainty():
    seen = group(statistics_of(LOGITS, IDS), "A-A")
    entropies, certainties = NegativeEntropy(1.0, -7.0).score_group(seen), SelfCertainty(1.0).score_group(seen)
    assert entropies.rewards[1] == -7.0 < min(entropies.rewards[0], entropies.rewards[2])
    assert certainties.rewards == SelfCertainty(1.0).score_group(group(statistics_of(LOGITS, IDS))).rewards
    assert entropies.label is certainties.label is None


@pytest.mark.parametrize("reward", [NegativeEntropy, SelfCertainty])
def test_they_say_what_they_need(reward):
    traits = traits_of(reward)
    assert traits.needs_statistics
    assert traits.is_label_free
    assert traits.decides_signal
