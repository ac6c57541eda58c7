import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medssr.config import LossType
from medssr.grpo.losses import normalizer_across_processes, row_weights, step_normalizer

LENGTHS = st.lists(st.integers(0, 12), min_size=1, max_size=8)
# What the tokens of rows of 4 tokens and 1 token weigh, of 6 possible ones: by hand
BY_HAND = {
    LossType.dapo: (1 / 5, 1 / 5),
    LossType.bnpo: (1 / 5, 1 / 5),
    LossType.cispo: (1 / 5, 1 / 5),
    LossType.grpo: (1 / 8, 1 / 2),
    LossType.gspo: (1 / 8, 1 / 2),
    LossType.sapo: (1 / 8, 1 / 2),
    LossType.dr_grpo: (1 / 12, 1 / 12),
}


@pytest.mark.parametrize("kind", list(LossType))
def test_by_hand(kind):
    mask = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0]])
    shares = row_weights(mask, kind).squeeze(1) / step_normalizer([4, 1], kind, max_new_tokens=6)
    assert shares.tolist() == pytest.approx(BY_HAND[kind])


@pytest.mark.parametrize("kind", list(LossType))
def test_a_row_without_tokens_changes_nothing(kind):
    assert step_normalizer([4, 0, 1], kind, 6) == step_normalizer([4, 1], kind, 6)
    assert row_weights(torch.zeros(1, 3), kind).isfinite().all()


@pytest.mark.parametrize("kind", [kind for kind in LossType if kind is not LossType.dr_grpo])
@given(LENGTHS)
def test_the_weights_of_all_tokens_add_up_to_one(kind, lengths):
    mask = (torch.arange(12) < torch.tensor(lengths).unsqueeze(1)).double()
    total = (mask * row_weights(mask, kind)).sum().item()
    assert total == pytest.approx(step_normalizer(lengths, kind, 12))


@pytest.mark.parametrize("kind", list(LossType))
def test_one_process_keeps_its_own_normalizer(kind):
    assert normalizer_across_processes(7.0, kind) == 7.0
