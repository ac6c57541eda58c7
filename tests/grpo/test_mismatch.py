import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medssr.grpo.kl import logprob_mismatch, truncated_importance_weights
from medssr.grpo.metrics import pooled_mismatch

LOGPS = st.lists(st.tuples(st.floats(-15, 0), st.floats(-15, 0)), min_size=1, max_size=8)


def test_weights_by_hand():
    old, engine = torch.tensor([[math.log(0.3), math.log(0.3)]]), torch.tensor([[math.log(0.2), math.log(0.1)]])
    assert truncated_importance_weights(old, engine, cap=2.0).tolist() == [pytest.approx([1.5, 2.0])]


def test_only_the_upper_side_is_bounded():
    assert truncated_importance_weights(torch.tensor([-5.0]), torch.tensor([0.0]), 2.0).item() == pytest.approx(
        math.exp(-5)
    )


def test_weights_have_no_gradient():
    old = torch.tensor([-1.0], requires_grad=True)
    assert not truncated_importance_weights(old, torch.tensor([-1.1]), 2.0).requires_grad


def test_a_token_s_weight_does_not_depend_on_the_rest_of_its_sequence():
    """The product over a sequence of 1,000 tokens that each differ by 1 % would be 20,959 or 0.00005."""
    old = torch.full((1, 1000), -1.0)
    assert truncated_importance_weights(old, old - 0.01, 2.0).unique().tolist() == [pytest.approx(math.exp(0.01))]


@pytest.mark.parametrize("unknown", [math.nan, math.inf, -math.inf])
def test_a_token_whose_log_prob_the_engine_does_not_know_has_weight_1_and_is_counted(unknown):
    old, engine = torch.tensor([-1.0, -1.0]), torch.tensor([unknown, -1.5])
    assert truncated_importance_weights(old, engine, 2.0).tolist() == pytest.approx([1.0, math.exp(0.5)])
    mismatch = logprob_mismatch(old, engine, 2.0)
    assert (mismatch["logprob_mismatch_mean"], mismatch["engine_logp_missing_share"]) == (0.5, 0.5)


def test_the_gap_by_hand():
    # differences 0.5, -1 and 2: the third is beyond a cap of 2 = exp(0.69)
    mismatch = logprob_mismatch(torch.tensor([-1.0, -3.0, -1.0]), torch.tensor([-1.5, -2.0, -3.0]), cap=2.0)
    k3 = [math.exp(d) - d - 1 for d in (0.5, -1.0, 2.0)]
    assert mismatch == {
        "logprob_mismatch_mean": pytest.approx(3.5 / 3),
        "logprob_mismatch_max": pytest.approx(2.0),
        "engine_kl": pytest.approx(sum(k3) / 3),
        "tis_capped_share": pytest.approx(1 / 3),
        "engine_logp_missing_share": 0.0,
    }


def test_without_a_cap_nothing_is_capped():
    assert logprob_mismatch(torch.tensor([0.0]), torch.tensor([-9.0]), cap=None)["tis_capped_share"] == 0


def test_a_gap_of_no_known_token_is_zero_and_says_so():
    mismatch = logprob_mismatch(torch.tensor([-1.0]), torch.tensor([math.nan]), 2.0)
    assert mismatch["engine_logp_missing_share"] == 1
    assert not any(math.isnan(value) for value in mismatch.values())


@pytest.mark.slow
@given(LOGPS)
def test_agrees_with_loops(pairs):
    old, engine = (torch.tensor(column, dtype=torch.float64) for column in zip(*pairs, strict=True))
    weights = truncated_importance_weights(old, engine, 2.0)
    assert weights.tolist() == pytest.approx([min(math.exp(a - b), 2.0) for a, b in pairs])
    assert logprob_mismatch(old, engine, 2.0)["logprob_mismatch_mean"] == pytest.approx(
        sum(abs(a - b) for a, b in pairs) / len(pairs), abs=1e-12
    )


def test_the_parts_of_several_processes_give_the_mismatch_of_all_tokens():
    old = torch.tensor([-1.0, -3.0, -1.0, -2.0, -0.5])
    engine = torch.tensor([-1.5, math.nan, -3.0, -2.5, -0.25])
    parts = [(2, logprob_mismatch(old[:2], engine[:2], 2.0)), (3, logprob_mismatch(old[2:], engine[2:], 2.0))]
    assert pooled_mismatch(parts) == pytest.approx(logprob_mismatch(old, engine, 2.0))
    assert pooled_mismatch([]) == {}
