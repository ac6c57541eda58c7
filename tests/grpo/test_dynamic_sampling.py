import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.grpo.dynamic_sampling import indices_to_train


@pytest.mark.slow
@given(st.lists(st.booleans(), min_size=1), st.data())
def test_as_many_as_asked_for_with_signal_first_and_in_order(has_signal, data):
    size = data.draw(st.integers(1, len(has_signal)))
    indices = indices_to_train(has_signal, size)
    assert len(indices) == size
    assert indices == sorted(set(indices))
    assert sum(has_signal[index] for index in indices) == min(size, sum(has_signal))


def test_without_dynamic_sampling_all_groups_stay_where_they_are():
    assert indices_to_train([False, True, False], 3) == [0, 1, 2]
