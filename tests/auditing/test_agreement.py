from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medssr.auditing.agreement import agreement, cohen_kappa, confusion_table, disagreement_costs

NOMINAL = disagreement_costs(2, is_ordinal=False)


def pairs(table):
    """Returns the answers of two raters with this contingency table."""
    cells = [(row, column) for row, line in enumerate(table) for column, count in enumerate(line) for _ in range(count)]
    return [row for row, _ in cells], [column for _, column in cells]


def test_the_table_has_the_first_rater_by_row():
    table = confusion_table(["yes", "yes", "no"], ["no", "yes", "no"], ["yes", "no"])
    assert table.tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize(
    ("table", "kappa"),
    [
        ([[45, 15], [25, 15]], 0.130435),  # p_o 0.6, p_e 0.6 * 0.7 + 0.4 * 0.3 = 0.54
        ([[25, 35], [5, 35]], 0.259259),  # p_o 0.6, p_e 0.6 * 0.3 + 0.4 * 0.7 = 0.46
        ([[10, 0], [0, 10]], 1.0),
        ([[0, 10], [10, 0]], -1.0),
        ([[25, 25], [25, 25]], 0.0),
        ([[196, 2], [2, 0]], -0.010101),  # 98% the same, and not one error in common: e = 2 * 0.99 * 0.01, o = 0.02
    ],
)
def test_kappa_by_hand(table, kappa):
    assert float(cohen_kappa(np.array(table), NOMINAL)) == pytest.approx(kappa, abs=1e-6)


def test_kappa_of_three_categories_by_hand():
    # Agreed: 70 of 100. By chance, with margins 60, 30, 10 and 65, 25, 10: (60*65 + 30*25 + 10*10) / 100^2 = 0.475.
    table = np.array([[53, 5, 2], [11, 14, 5], [1, 6, 3]])
    assert float(cohen_kappa(table, disagreement_costs(3, is_ordinal=False))) == pytest.approx(
        (0.70 - 0.475) / (1 - 0.475)
    )


def test_weighted_kappa_by_hand():
    # Seen: once cost 1 and twice cost 4, in ten. By chance, with margins 3, 3, 4 and 4, 2, 4: cost 1 for neighbours,
    # (3*2 + 3*4 + 3*4 + 4*2) / 100 = 0.38, and cost 4 for the ends, 4 * (3*4 + 4*4) / 100 = 1.12.
    table = np.array([[2, 0, 1], [1, 2, 0], [1, 0, 3]])
    assert float(cohen_kappa(table, disagreement_costs(3, is_ordinal=True))) == pytest.approx(1 - 0.9 / 1.5)


@given(arrays(np.int64, (4, 4), elements=st.integers(0, 20)), st.booleans())
def test_kappa_agrees_with_scikit_learn(table, is_ordinal):
    metrics = pytest.importorskip("sklearn.metrics")
    kappa = float(cohen_kappa(table + np.eye(4, dtype=np.int64), disagreement_costs(4, is_ordinal)))
    first, second = pairs(table + np.eye(4, dtype=np.int64))
    expected = metrics.cohen_kappa_score(first, second, weights="quadratic" if is_ordinal else None)
    assert kappa == pytest.approx(expected)


@pytest.mark.slow
@given(arrays(np.int64, (3, 3), elements=st.integers(0, 9)).filter(lambda table: table.sum() > 0), st.booleans())
def test_kappa_is_at_most_one_and_the_same_with_raters_swapped(table, is_ordinal):
    costs = disagreement_costs(3, is_ordinal)
    kappa, swapped = float(cohen_kappa(table, costs)), float(cohen_kappa(table.T, costs))
    assert np.isnan(kappa) == np.isnan(swapped)
    if np.isfinite(kappa):
        assert kappa <= 1
        assert kappa == pytest.approx(swapped)


def test_agreement_has_intervals_around_its_figures():
    first, second = pairs([[20, 5], [10, 15]])
    found = agreement(first, second, [0, 1], is_ordinal=False, seed=3)
    assert (found.n, found.same, found.table) == (50, 0.7, [[20, 5], [10, 15]])
    assert found.same_low < 0.7 < found.same_high
    assert found.kappa == pytest.approx(0.4)
    # The standard error of Cohen 1960: sqrt(0.7 * 0.3 / (50 * 0.25)) = 0.13.
    assert found.kappa_low == pytest.approx(0.4 - 1.96 * 0.13, abs=0.04)
    assert found.kappa_high == pytest.approx(0.4 + 1.96 * 0.13, abs=0.04)
    assert found.undefined_share == 0
    assert found == agreement(first, second, [0, 1], is_ordinal=False, seed=3)
    assert found == agreement(first[::-1], second[::-1], [0, 1], is_ordinal=False, seed=3)


def test_kappa_is_undefined_where_both_always_say_the_same():
    found = agreement([False] * 200, [False] * 200, [True, False], is_ordinal=False, seed=0)
    assert (found.kappa, found.kappa_low, found.kappa_high, found.undefined_share) == (None, None, None, 1.0)
    assert (found.same, found.same_high) == (1.0, 1.0)
    assert found.same_low == pytest.approx(0.9812, abs=1e-4)  # Wilson, 200 of 200: n / (n + z^2)


def test_the_share_of_resamples_without_kappa_is_told():
    # The only error is in a resample with probability 1 - (1 - 1/200)^200 = 0.633.
    found = agreement([True] + [False] * 199, [True] + [False] * 199, [True, False], is_ordinal=False, seed=0)
    assert found.kappa == 1.0
    assert found.undefined_share == pytest.approx((1 - 1 / 200) ** 200, abs=0.02)
