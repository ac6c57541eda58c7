"""The agreement of two raters: the table of their answers, raw agreement and Cohen's kappa with intervals."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medssr.statistics import NUM_RESAMPLES, wilson_interval

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two raters agree on the questions that both have rated.

    Attributes:
        n: Questions.
        same: Fraction of them with the same answer.
        same_low: Lower end of its Wilson interval.
        same_high: Upper end.
        kappa: Cohen's kappa; None where it is undefined because both gave the same answer to all questions.
        kappa_low: Lower end of its bootstrap interval; None where kappa is undefined.
        kappa_high: Upper end.
        undefined_share: Fraction of the bootstrap's resamples in which kappa is undefined; they are left out of its
            interval, so that a large fraction means too few disagreements for one.
        categories: The answers, in the order of the table.
        table: Counts, the first rater's answer by row and the second's by column.
    """

    n: int
    same: float
    same_low: float
    same_high: float
    kappa: float | None
    kappa_low: float | None
    kappa_high: float | None
    undefined_share: float
    categories: list[str]
    table: list[list[int]]


def agreement(
    first: Sequence[Hashable],
    second: Sequence[Hashable],
    categories: Sequence[Hashable],
    *,
    is_ordinal: bool,
    seed: int,
) -> Agreement:
    """Returns how two raters agree.

    Args:
        first: One rater's answers.
        second: The other's, to the same questions in the same order; at least one.
        categories: All answers that are possible. Where they are ordered, in their order.
        is_ordinal: Whether they are ordered: then a disagreement counts by the square of its distance.
        seed: Of the bootstrap.
    """
    table = confusion_table(first, second, categories)  # [C, C]
    n = int(table.sum())
    num_same = int(np.trace(table))
    same = wilson_interval(num_same, n)
    costs = disagreement_costs(len(categories), is_ordinal)
    kappa = float(cohen_kappa(table, costs))
    # Kappa depends on the table alone, so whole tables are resampled: [R, C, C].
    draws = np.random.default_rng(seed).multinomial(n, table.ravel() / n, size=NUM_RESAMPLES)
    kappas = cohen_kappa(draws.reshape(-1, *table.shape), costs)
    is_defined = np.isfinite(kappas)
    ends: list[float | None] = [None, None]
    if np.isfinite(kappa):
        ends = [float(end) for end in np.quantile(kappas[is_defined], [0.025, 0.975])]
    return Agreement(
        n=n,
        same=num_same / n,
        same_low=same.low,
        same_high=same.high,
        kappa=kappa if np.isfinite(kappa) else None,
        kappa_low=ends[0],
        kappa_high=ends[1],
        undefined_share=float(1 - is_defined.mean()),
        categories=[str(category) for category in categories],
        table=table.tolist(),
    )


def confusion_table(
    first: Sequence[Hashable], second: Sequence[Hashable], categories: Sequence[Hashable]
) -> NDArray[np.int64]:
    """Returns `[C, C]` counts, the first rater's answer by row, the second's by column."""
    index_of = {category: index for index, category in enumerate(categories)}
    table = np.zeros((len(categories), len(categories)), dtype=np.int64)
    for one, other in zip(first, second, strict=True):
        table[index_of[one], index_of[other]] += 1
    return table


def disagreement_costs(num_categories: int, is_ordinal: bool) -> FloatArray:
    """Returns `[C, C]`, what a pair of answers counts as disagreement: 1 for different ones, or their distance squared.

    Example:
        >>> disagreement_costs(3, is_ordinal=True).tolist()
        [[0.0, 1.0, 4.0], [1.0, 0.0, 1.0], [4.0, 1.0, 0.0]]
    """
    indices = np.arange(num_categories)
    distances: FloatArray = np.abs(indices[:, None] - indices).astype(np.float64)  # [C, C]
    return distances**2 if is_ordinal else np.minimum(distances, 1.0)


def cohen_kappa(tables: NDArray[np.int64], costs: FloatArray) -> FloatArray:
    """Returns Cohen's kappa of each table: 1 for perfect agreement, 0 for that of chance, NaN where it is undefined.

    With o the fractions of a table, e the products of its margins and v the costs, kappa = 1 - sum(v o) / sum(v e)
    (Cohen 1968, "Weighted kappa: nominal scale agreement with provision for scaled disagreement or partial credit").
    With costs of 1 this is (p_o - p_e) / (1 - p_e) (Cohen 1960). It is undefined where chance alone agrees always.

    Args:
        tables: `[..., C, C]` counts.
        costs: `[C, C]`, 0 on the diagonal.

    Example:
        Of 50 both say yes to 20 and no to 15: p_o = 0.7, p_e = 0.5 * 0.6 + 0.5 * 0.4 = 0.5.

        >>> round(float(cohen_kappa(np.array([[20, 5], [10, 15]]), disagreement_costs(2, is_ordinal=False))), 6)
        0.4
    """
    fractions = tables / tables.sum(axis=(-2, -1), keepdims=True)
    expected = fractions.sum(axis=-1, keepdims=True) * fractions.sum(axis=-2, keepdims=True)  # [..., C, C]
    observed, by_chance = (fractions * costs).sum(axis=(-2, -1)), (expected * costs).sum(axis=(-2, -1))
    with np.errstate(divide="ignore", invalid="ignore"):
        kappas: FloatArray = np.where(by_chance > 0, 1 - observed / by_chance, np.nan)
    return kappas
