import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import binary_calibration_error

from medssr.statistics import calibration, pass_at_k, wilson_interval


@pytest.mark.slow
@given(st.lists(st.tuples(st.floats(0.001, 1), st.booleans()), min_size=1, max_size=60), st.integers(1, 12))
def test_the_error_equals_that_of_torchmetrics(answers, num_bins):
    agreement, is_right = zip(*answers, strict=True)
    # Away from the edges, where a bin begins depends on the last bit.
    agreement = [0.5 / num_bins + np.floor(share * num_bins * 0.999) / num_bins for share in agreement]
    expected = binary_calibration_error(torch.tensor(agreement), torch.tensor(is_right).int(), n_bins=num_bins)
    assert calibration(agreement, is_right, num_bins).expected_error == pytest.approx(float(expected), abs=1e-6)


def test_bins_by_hand():
    # four samples: 3/4 and 1/2 of the votes, and a full agreement
    found = calibration([0.75] * 4 + [0.5] * 2 + [1.0] * 3, [True, True, True, False, True, False, True, True, True], 4)
    half, most, all_of_them = found.bins
    assert [(each.low, each.high, each.n) for each in found.bins] == [(0.25, 0.5, 2), (0.5, 0.75, 4), (0.75, 1.0, 3)]
    assert (half.accuracy, most.accuracy, all_of_them.accuracy) == (0.5, 0.75, 1.0)
    assert (half.agreement, most.agreement, all_of_them.agreement) == (0.5, 0.75, 1.0)
    assert found.expected_error == 0
    assert (most.accuracy_low, most.accuracy_high) == pytest.approx(dataclasses.astuple(wilson_interval(3, 4)))


@pytest.mark.parametrize("num_samples", [3, 4, 7, 10])
def test_an_agreement_at_the_end_of_a_bin_belongs_to_it(num_samples):
    shares = [count / num_samples for count in range(1, num_samples + 1)]
    found = calibration(shares, [True] * num_samples, num_samples)
    assert [each.n for each in found.bins] == [1] * num_samples


def test_nothing_to_calibrate():
    found = calibration([], [])
    assert (found.bins, found.expected_error, found.n) == ([], 0.0, 0)


def test_json_keeps_it():
    found = dataclasses.asdict(calibration([0.5, 1.0], np.array([True, False])))
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(("shares", "right", "bins"), [([0.5], [], 3), ([1.5], [True], 3), ([0.5], [True], 0)])
def test_what_is_no_agreement_is_refused(shares, right, bins):
    with pytest.raises(ValueError, match="expected"):
        calibration(shares, right, bins)


@pytest.mark.slow
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
