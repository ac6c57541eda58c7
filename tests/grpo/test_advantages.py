import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medssr.config import ScaleRewards
from medssr.grpo.advantages import group_advantages, is_nonzero_std

UNKNOWN = st.sampled_from([math.nan, math.inf, -math.inf])


def rewards_of(*rewards, least=1):
    """Groups of one size, at least `least`, of the given rewards."""
    one = st.one_of(*rewards)
    return st.integers(least, 6).flatmap(
        lambda size: st.lists(st.lists(one, min_size=size, max_size=size), min_size=1, max_size=4)
    )


def slow_advantages(rewards: list[list[float]], scale: ScaleRewards, epsilon: float) -> list[list[float]]:
    """The formulas with loops, on the scored rewards of each group; 0 where fewer than two are scored or all equal."""

    def deviation(values: list[float]) -> float:
        mean = sum(values) / len(values)
        return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))

    scored = [[reward for reward in group if math.isfinite(reward)] for group in rewards]
    flat = [reward for group in scored for reward in group]
    result = []
    for group, values in zip(rewards, scored, strict=True):
        if len(values) < 2 or min(values) == max(values):
            result.append([0.0] * len(group))
            continue
        divisor = {
            ScaleRewards.group: deviation(values) + epsilon,
            ScaleRewards.batch: deviation(flat) + epsilon,
            ScaleRewards.none: 1.0,
        }[scale]
        mean = sum(values) / len(values)
        result.append([(reward - mean) / divisor if math.isfinite(reward) else 0.0 for reward in group])
    return result


def test_one_right_of_four_by_hand():
    # mean 1/4, squared deviations 9/16 + 3/16 = 3/4, unbiased variance 1/4, deviation 1/2
    advantages = group_advantages(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), epsilon=0.0)
    assert advantages.tolist() == [[1.5, -0.5, -0.5, -0.5]]


def test_a_group_is_scaled_by_its_own_deviation():
    advantages = group_advantages(torch.tensor([[1.0, 0.0], [10.0, 0.0]]), epsilon=0.0)
    half = 1 / math.sqrt(2)  # deviation of (1, 0) is 1/sqrt 2, of (10, 0) ten times that
    assert advantages.tolist() == [pytest.approx([half, -half]), pytest.approx([half, -half])]


def test_the_batch_has_one_deviation():
    # the four rewards have mean 1 and squared deviations 1 + 1 + 1 + 1, so the unbiased deviation is sqrt(4/3)
    advantages = group_advantages(torch.tensor([[2.0, 0.0], [0.0, 2.0]]), ScaleRewards.batch, epsilon=0.0)
    expected = math.sqrt(3 / 4)
    assert advantages.tolist() == [pytest.approx([expected, -expected]), pytest.approx([-expected, expected])]


def test_without_scaling_rewards_are_only_centred():
    advantages = group_advantages(torch.tensor([[3.0, 0.0, 0.0], [1.0, 1.0, 1.0]]), ScaleRewards.none)
    assert advantages.tolist() == [[2.0, -1.0, -1.0], [0.0, 0.0, 0.0]]


def test_epsilon_is_added_to_the_deviation():
    advantages = group_advantages(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), epsilon=0.5)
    assert advantages.tolist() == [[0.75, -0.25, -0.25, -0.25]]


@pytest.mark.slow
@pytest.mark.parametrize("scale", list(ScaleRewards))
@given(rewards=rewards_of(st.floats(-5, 5, width=16), st.sampled_from([0.0, 1.0]), UNKNOWN))
def test_agrees_with_loops(scale, rewards):
    """Unscored completions leave the statistics."""
    advantages = group_advantages(torch.tensor(rewards, dtype=torch.float64), scale, epsilon=1e-4)
    expected = torch.tensor(slow_advantages(rewards, scale, epsilon=1e-4), dtype=torch.float64)
    torch.testing.assert_close(advantages, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("scale", list(ScaleRewards))
@given(rewards=rewards_of(st.floats(-5, 5, width=32), least=2))
def test_advantages_of_a_group_sum_to_zero(scale, rewards):
    advantages = group_advantages(torch.tensor(rewards, dtype=torch.float64), scale, epsilon=1e-4)
    assert advantages.sum(dim=1).abs().max() < 1e-6


def test_a_group_has_nonzero_std_when_its_rewards_differ():
    rewards = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.3, 0.3000001]])
    assert is_nonzero_std(rewards).tolist() == [True, False, False, True]


@given(st.floats(-10, 10, width=32), st.integers(2, 33))
def test_equal_rewards_are_no_signal_however_they_round(reward, size):
    assert is_nonzero_std(torch.full((1, size), reward)).tolist() == [False]


@pytest.mark.parametrize("scale", list(ScaleRewards))
def test_unscored_is_not_zero(scale):
    """If it counted as 0 beside rewards of -1 and -3, an unscored completion would be the best of its group."""
    advantages = group_advantages(torch.tensor([[-1.0, -3.0, math.nan]]), scale)
    alone = group_advantages(torch.tensor([[-1.0, -3.0]]), scale)
    assert advantages[0, 2] == 0
    torch.testing.assert_close(advantages[:, :2], alone)


@pytest.mark.parametrize("scale", list(ScaleRewards))
@pytest.mark.parametrize(
    "group",
    [[5.0], [5.0, math.nan], [math.nan, math.nan], [0.7] * 7, [0.1, 0.1, math.nan], [math.inf, 1.0]],
    ids=str,
)
def test_a_group_without_two_different_rewards_has_advantages_of_exactly_zero(scale, group):
    """The raw reward of a group of one, rounding errors of equal rewards, and NaN must not become advantages."""
    rewards = torch.tensor([group])
    assert group_advantages(rewards, scale, epsilon=0.0).tolist() == [[0.0] * len(group)]
    assert is_nonzero_std(rewards).tolist() == [False]


def test_scalings_have_names():
    rewards = torch.tensor([[1.0, 0.0, 0.5]])
    for scale in ScaleRewards:
        assert torch.equal(group_advantages(rewards, scale.name), group_advantages(rewards, scale))


def test_without_unscored_rewards_the_result_has_the_bits_of_the_plain_formula():
    rewards = torch.rand(64, 8, generator=torch.Generator().manual_seed(0))
    plain = (rewards - rewards.mean(dim=1, keepdim=True)) / (rewards.std(dim=1, keepdim=True) + 1e-6)
    assert torch.equal(group_advantages(rewards), plain)
