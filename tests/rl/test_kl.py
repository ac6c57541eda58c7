import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medssr.rl.kl import k3_kl

LOGPS = st.floats(-20, 0)


def test_by_hand():
    # d = ln 2: 2 - ln 2 - 1; d = -ln 2: 1/2 + ln 2 - 1
    policy, reference = torch.tensor([[math.log(0.25), math.log(0.5)]]), torch.tensor([[math.log(0.5), math.log(0.25)]])
    assert k3_kl(policy, reference).tolist() == [pytest.approx([1 - math.log(2), math.log(2) - 0.5])]


@given(LOGPS, LOGPS)
def test_never_negative_and_zero_only_for_equal_probabilities(policy, reference):
    value = k3_kl(torch.tensor(policy, dtype=torch.float64), torch.tensor(reference, dtype=torch.float64)).item()
    assert value >= -1e-12  # rounding of exp(d) - d - 1 near d = 0
    if abs(policy - reference) > 1e-3:
        assert value > 0


def test_its_mean_under_the_policy_is_the_divergence():
    policy, reference = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.25, 0.25]], dtype=torch.float64)
    divergence = (policy * (policy / reference).log()).sum()
    estimate = (policy * k3_kl(policy.log(), reference.log())).sum()
    assert estimate.item() == pytest.approx(divergence.item(), abs=1e-12)


def test_the_gradient_pulls_the_policy_towards_the_reference():
    policy = torch.tensor([math.log(0.5)], dtype=torch.float64, requires_grad=True)
    k3_kl(policy, torch.tensor([math.log(0.25)], dtype=torch.float64)).sum().backward()
    assert policy.grad.item() == pytest.approx(0.5)  # 1 - exp(d) with d = -ln 2: too likely, so the log-prob falls
