import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.statistics import pass_at_k


@pytest.mark.parametrize(
    ("num_correct", "num_samples", "k", "expected"),
    [(0, 4, 2, 0.0), (1, 4, 2, 0.5), (2, 4, 2, 5 / 6), (3, 4, 2, 1.0), (1, 4, 1, 0.25), (1, 4, 4, 1.0)],
)
def test_pass_at_k_by_hand(num_correct, num_samples, k, expected):
    assert pass_at_k([num_correct], num_samples, k).tolist() == pytest.approx([expected])


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n), st.integers(1, n))))
def test_pass_at_k_equals_the_share_of_all_subsets_that_hold_a_right_sample(case):
    num_correct, num_samples, k = case
    subsets = list(itertools.combinations([True] * num_correct + [False] * (num_samples - num_correct), k))
    expected = sum(map(any, subsets)) / len(subsets)
    assert pass_at_k([num_correct], num_samples, k)[0] == pytest.approx(expected)


def test_pass_at_k_does_not_overflow_and_keeps_the_shape():
    estimates = pass_at_k(np.arange(0, 2001, 500), 2000, 1000)
    assert estimates.shape == (5,)
    assert np.isfinite(estimates).all()


@pytest.mark.parametrize(("num_correct", "num_samples", "k"), [([1], 4, 0), ([1], 4, 5), ([5], 4, 2), ([-1], 4, 2)])
def test_pass_at_k_refuses_impossible_counts(num_correct, num_samples, k):
    with pytest.raises(ValueError, match="expected"):
        pass_at_k(num_correct, num_samples, k)
