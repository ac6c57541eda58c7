import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.helpers import LOSSES, policy_loss

LENGTHS = st.lists(st.integers(0, 12), min_size=1, max_size=8)
# What the tokens of rows of 4 tokens and 1 token weigh, of 6 possible ones: by hand
BY_HAND = {
    "dapo": (1 / 5, 1 / 5),
    "bnpo": (1 / 5, 1 / 5),
    "cispo": (1 / 5, 1 / 5),
    "grpo": (1 / 8, 1 / 2),
    "gspo": (1 / 8, 1 / 2),
    "sapo": (1 / 8, 1 / 2),
    "dr_grpo": (1 / 12, 1 / 12),
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_by_hand(kind):
    mask = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0]])
    token_weights = policy_loss(kind).row_weights(mask).squeeze(1) / policy_loss(kind).normalizer(
        [4, 1], max_new_tokens=6
    )
    assert token_weights.tolist() == pytest.approx(BY_HAND[kind])


@pytest.mark.slow
@pytest.mark.parametrize("kind", LOSSES)
def test_a_row_without_tokens_changes_nothing(kind):
    assert policy_loss(kind).normalizer([4, 0, 1], 6) == policy_loss(kind).normalizer([4, 1], 6)
    assert policy_loss(kind).row_weights(torch.zeros(1, 3)).isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in LOSSES if kind != "dr_grpo"])
@given(LENGTHS)
def test_the_weights_of_all_tokens_add_up_to_one(kind, lengths):
    mask = (torch.arange(12) < torch.tensor(lengths).unsqueeze(1)).double()
    total = (mask * policy_loss(kind).row_weights(mask)).sum().item()
    assert total == pytest.approx(policy_loss(kind).normalizer(lengths, 12))
