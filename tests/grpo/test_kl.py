import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medssr.grpo.kl import k3_kl, kl_estimate, sequence_kls

LOGPS = st.floats(-20, 0)


@pytest.mark.slow
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


def policy_and_reference():
    logits = torch.tensor([0.3, -0.5, 0.9], dtype=torch.float64, requires_grad=True)
    return logits, logits.log_softmax(dim=0), torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)


def expected_gradient(estimator):
    """The gradient by the logits of an estimator in the loss, averaged over samples of the policy."""
    logits, logps, reference = policy_and_reference()
    (logps.exp().detach() * kl_estimate(logps, reference.log(), estimator)).sum().backward()
    return logits.grad


def divergence_gradient(is_reversed):
    logits, logps, reference = policy_and_reference()
    terms = reference * (reference.log() - logps) if is_reversed else logps.exp() * (logps - reference.log())
    terms.sum().backward()
    return logits.grad


@pytest.mark.parametrize(("estimator", "is_reversed"), [("k2", False), ("k3", True)])
def test_in_the_loss_k2_has_the_gradient_of_the_divergence_and_k3_that_of_the_reversed_one(estimator, is_reversed):
    torch.testing.assert_close(expected_gradient(estimator), divergence_gradient(is_reversed))


def test_k1_in_the_loss_has_no_gradient_on_average():
    assert expected_gradient("k1").abs().max() < 1e-12


@given(LOGPS, LOGPS)
def test_every_estimator_agrees_with_its_formula(policy, reference):
    difference = reference - policy
    expected = {"k1": -difference, "k2": difference**2 / 2, "k3": math.exp(difference) - difference - 1}
    tensors = [torch.tensor(value, dtype=torch.float64) for value in (policy, reference)]
    for name, value in expected.items():
        assert kl_estimate(*tensors, name).item() == pytest.approx(value, rel=1e-9, abs=1e-12)


def test_k1_of_a_sequence_is_the_log_ratio_of_the_whole():
    policy = [torch.tensor([-1.0, -2.0]), torch.tensor([-1.0])]
    reference = [torch.tensor([-1.5, -1.0]), torch.tensor([-4.0])]
    kls = sequence_kls(policy, reference, "k1")
    assert kls.tolist() == [-0.5, 3.0]


def test_an_extreme_difference_stays_finite():
    policy = torch.tensor([-200.0], requires_grad=True)
    value = k3_kl(policy, torch.tensor([0.0]))
    value.sum().backward()
    assert value.isfinite().all()
    assert policy.grad.isfinite().all()
