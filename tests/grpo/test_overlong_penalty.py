import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medssr.grpo.advantages import overlong_penalty


def test_by_hand():
    lengths = torch.tensor([[1, 16, 17], [18, 19, 20]])
    penalty = overlong_penalty(lengths, max_new_tokens=20, buffer=4)
    assert penalty.tolist() == [[0.0, 0.0, 0.25], [0.5, 0.75, 1.0]]


def test_no_buffer_is_no_penalty():
    assert overlong_penalty(torch.tensor([1, 20]), max_new_tokens=20, buffer=0).tolist() == [0.0, 0.0]


def test_a_buffer_of_the_whole_length_is_a_length_penalty():
    assert overlong_penalty(torch.tensor([5, 20]), max_new_tokens=20, buffer=20).tolist() == [0.25, 1.0]


@pytest.mark.slow
@given(st.integers(1, 64), st.data())
def test_longer_is_never_better_and_a_cut_completion_pays_in_full(max_new_tokens, data):
    buffer = data.draw(st.integers(1, max_new_tokens))
    penalty = overlong_penalty(torch.arange(max_new_tokens + 1), max_new_tokens, buffer)
    assert (penalty.diff() >= 0).all()
    assert (penalty[0], penalty[-1]) == (0, pytest.approx(1))
