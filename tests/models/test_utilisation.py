"""The operations of an update by hand, and what fraction of a device's they are."""

from __future__ import annotations

import math

import pytest

from medssr.models.architecture import Architecture
from medssr.models.utilisation import Utilisation, update_flops

# A layer has 4 x (10 x 10) + 3 x (10 x 20) = 1,000 weights, the head 1,000; a token attends to another in 80 FLOPs.
SMALL = Architecture(100, 10, 2, 2, 2, 5, 20, 0, 0, True, False)


def test_a_shared_prompt_counts_once_and_the_backward_pass_twice():
    # Two completions of 10 tokens behind a prompt of 4: 24 tokens in the layers, 20 in the head.
    attended = 4 * 4 / 2 + 2 * (10 * 4 + 10 * 10 / 2)
    forward = 2 * 2_000 * 24 + 2 * 1_000 * 20 + 80 * attended
    assert update_flops(SMALL, [4], [(4, 10), (4, 10)]) == pytest.approx(3 * forward)


def test_weights_without_a_gradient_have_one_product_in_the_backward_pass():
    attended = 4 * 4 / 2 + 10 * 4 + 10 * 10 / 2
    forward = 2 * 2_100 * 14 + 2 * 1_000 * 10 + 80 * attended
    assert update_flops(SMALL, [4], [(4, 10)], num_adapter_parameters=100) == pytest.approx(2 * forward)


def test_the_share_is_of_the_peak_and_unknown_without_an_update():
    device = Utilisation(SMALL, None, peak_flops=1e6)
    assert device.share(3e5, seconds=2.0) == pytest.approx(0.15)
    assert math.isnan(device.share(0, seconds=0.0))
