"""From a vote to a pseudo-label, or to the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from medssr.labeling.votes import Vote

NUM_BANDS = 10


class LabelOutcome(StrEnum):
    """What becomes of a question after the vote."""

    kept = "kept"
    tied = "tied"
    below_band = "below_band"
    above_band = "above_band"
    no_valid_vote = "no_valid_vote"


def label_outcome(vote: Vote, min_agreement: float, max_agreement: float) -> LabelOutcome:
    """Returns whether the winner of a vote becomes the label: agreement within the band, ends included, and no tie.

    Example:
        >>> from medssr.labeling.votes import majority_vote
        >>> label_outcome(majority_vote(["A", "A", "B"]), 0.5, 0.9)
        <LabelOutcome.kept: 'kept'>
    """
    if vote.agreement is None:
        return LabelOutcome.no_valid_vote
    if vote.is_tied:
        return LabelOutcome.tied
    if vote.agreement < min_agreement:
        return LabelOutcome.below_band
    if vote.agreement > max_agreement:
        return LabelOutcome.above_band
    return LabelOutcome.kept


@dataclass(frozen=True, slots=True)
class BandCount:
    """Labels of one band of agreement (low < agreement <= high) and the share that is true, where truth is known."""

    low: float
    high: float
    n: int
    accuracy: float | None


def label_accuracy_by_band(labels: Iterable[tuple[float, bool]]) -> list[BandCount]:
    """Returns for each tenth of agreement how many labels it holds and which share of them is true.

    Args:
        labels: Agreement of each vote with a winner, and whether the winner is the hidden truth.

    Example:
        >>> [band for band in label_accuracy_by_band([(0.55, True), (0.6, False)]) if band.n]
        [BandCount(low=0.5, high=0.6, n=2, accuracy=0.5)]
    """
    is_true_by_band: list[list[bool]] = [[] for _ in range(NUM_BANDS)]
    for agreement, is_true in labels:
        # Ceil in tenths: a share k/n that equals a bound belongs below it; the rounding undoes 0.6 * 10 = 6.000000001.
        band = max(0, -int(-round(agreement * NUM_BANDS, 9) // 1) - 1)
        is_true_by_band[band].append(is_true)
    return [
        BandCount(band / NUM_BANDS, (band + 1) / NUM_BANDS, len(found), sum(found) / len(found) if found else None)
        for band, found in enumerate(is_true_by_band)
    ]
