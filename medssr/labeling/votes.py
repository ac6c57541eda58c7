"""The majority vote over a model's answers to a question, and the pseudo-label that it yields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Vote:
    """The outcome of one vote.

    Attributes:
        label: The letter with the most votes; None when first place is shared or nobody cast a valid vote.
        agreement: Votes for the winner divided by all votes, for a tie the votes of one of its leaders divided by all
            votes; None without a valid vote.
        counts: Valid votes by letter, in the order of the alphabet.
        num_invalid: Answers without a valid letter. Each is a vote against the winner.
        is_tied: Whether two or more letters share first place.
    """

    label: str | None
    agreement: float | None
    counts: dict[str, int]
    num_invalid: int
    is_tied: bool

    @property
    def num_valid(self) -> int:
        """The number of answers that chose a letter."""
        return sum(self.counts.values())

    @property
    def num_votes(self) -> int:
        """The number of all answers: the denominator of `agreement`."""
        return self.num_valid + self.num_invalid

    @property
    def valid_share(self) -> float:
        """The fraction of answers that chose a letter, the upper bound of `agreement`; 0 without an answer."""
        return self.num_valid / self.num_votes if self.num_votes else 0.0


def majority_vote(letters: Sequence[str | None]) -> Vote:
    """Returns the outcome of a vote; the order of the answers does not matter.

    The label is the plurality winner of self-consistency (Wang et al. 2023, arXiv 2203.11171, section 2) with two
    further rules: an invalid answer is no candidate but lowers the agreement, and a tie gives no label instead of the
    letter that came first.

    Args:
        letters: One extracted letter for each sampled answer, None for an invalid answer.

    Example:
        Five answers, one of them invalid; B has two of the five votes.

        >>> majority_vote(["B", "A", None, "B", "C"])
        Vote(label='B', agreement=0.4, counts={'A': 1, 'B': 2, 'C': 1}, num_invalid=1, is_tied=False)
    """
    counts = Counter(letter for letter in letters if letter is not None)
    num_invalid = len(letters) - counts.total()
    if not counts:
        return Vote(label=None, agreement=None, counts={}, num_invalid=num_invalid, is_tied=False)
    most = max(counts.values())
    leaders = [letter for letter, count in counts.items() if count == most]
    return Vote(
        label=leaders[0] if len(leaders) == 1 else None,
        agreement=most / len(letters),
        counts=dict(sorted(counts.items())),
        num_invalid=num_invalid,
        is_tied=len(leaders) > 1,
    )


NUM_BANDS = 10


class LabelOutcome(StrEnum):
    """The outcome of a question after the vote."""

    kept = "kept"
    tied = "tied"
    below_band = "below_band"
    above_band = "above_band"
    few_valid_votes = "few_valid_votes"
    no_valid_vote = "no_valid_vote"


def label_outcome(vote: Vote, min_agreement: float, max_agreement: float, min_valid_share: float) -> LabelOutcome:
    """Returns whether the winner of a vote becomes the label, or the first reason why it does not.

    A label needs enough valid votes, a single winner, and an agreement within the band, ends included. Too few valid
    votes come first because the others may be accidents of the few answers that could be read.

    Example:
        >>> from medssr.labeling.votes import majority_vote
        >>> label_outcome(majority_vote(["A", "A", "B"]), 0.5, 0.9, 0.5)
        <LabelOutcome.kept: 'kept'>
        >>> label_outcome(majority_vote(["A", None, None]), 0.0, 1.0, 0.5)
        <LabelOutcome.few_valid_votes: 'few_valid_votes'>
    """
    if vote.agreement is None:
        return LabelOutcome.no_valid_vote
    if vote.valid_share < min_valid_share:
        return LabelOutcome.few_valid_votes
    if vote.is_tied:
        return LabelOutcome.tied
    if vote.agreement < min_agreement:
        return LabelOutcome.below_band
    if vote.agreement > max_agreement:
        return LabelOutcome.above_band
    return LabelOutcome.kept


def pass_rate(vote: Vote, answer: str) -> float:
    """Returns the fraction of all votes that are for an answer.

    Example:
        >>> from medssr.labeling.votes import majority_vote
        >>> pass_rate(majority_vote(["A", "B", "B", None]), "A")
        0.25
    """
    return vote.counts.get(answer, 0) / vote.num_votes


def pass_rate_outcome(
    vote: Vote, answer: str, min_rate: float, max_rate: float, min_valid_share: float
) -> LabelOutcome:
    """Returns whether a question with an answer of its own is kept, or the first reason why it is not.

    It needs enough valid votes, and a pass rate within the band, ends included.

    Example:
        >>> from medssr.labeling.votes import majority_vote
        >>> pass_rate_outcome(majority_vote(["A", "B", "B", "B"]), "A", 0.05, 0.95, 0.0)
        <LabelOutcome.kept: 'kept'>
        >>> pass_rate_outcome(majority_vote(["B", "B", "B", "B"]), "B", 0.05, 0.95, 0.0)
        <LabelOutcome.above_band: 'above_band'>
    """
    if vote.valid_share < min_valid_share:
        return LabelOutcome.few_valid_votes
    rate = pass_rate(vote, answer)
    if rate < min_rate:
        return LabelOutcome.below_band
    return LabelOutcome.above_band if rate > max_rate else LabelOutcome.kept


@dataclass(frozen=True, slots=True)
class BandCount:
    """Labels of one band of agreement (low < agreement <= high), and the fraction that is true where truth is known."""

    low: float
    high: float
    n: int
    accuracy: float | None


def label_accuracy_by_band(labels: Iterable[tuple[float, bool]]) -> list[BandCount]:
    """Returns for each tenth of agreement the number of labels and the fraction of them that is true.

    Args:
        labels: Agreement of each vote with a winner, and whether the winner is the hidden truth.

    Example:
        >>> [band for band in label_accuracy_by_band([(0.55, True), (0.6, False)]) if band.n]
        [BandCount(low=0.5, high=0.6, n=2, accuracy=0.5)]
    """
    is_true_by_band: list[list[bool]] = [[] for _ in range(NUM_BANDS)]
    for agreement, is_true in labels:
        # Ceil in tenths: a k/n that equals a bound belongs below it; the rounding undoes 0.6 * 10 = 6.000000001.
        band = max(0, -int(-round(agreement * NUM_BANDS, 9) // 1) - 1)
        is_true_by_band[band].append(is_true)
    return [
        BandCount(band / NUM_BANDS, (band + 1) / NUM_BANDS, len(flags), sum(flags) / len(flags) if flags else None)
        for band, flags in enumerate(is_true_by_band)
    ]
