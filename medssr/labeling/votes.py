"""The majority vote that turns a model's own answers into a pseudo-label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Vote:
    """The outcome of one vote.

    Attributes:
        label: The letter with the most votes; None when first place is shared or nobody cast a valid vote.
        agreement: Votes for the winner divided by valid votes, for a tie the votes of one of its leaders divided by
            valid votes; None without a valid vote.
        counts: Valid votes by letter, in the order of the alphabet.
        num_invalid: Answers without a valid letter. They abstain.
        is_tied: Whether two or more letters share first place.
    """

    label: str | None
    agreement: float | None
    counts: dict[str, int]
    num_invalid: int
    is_tied: bool

    @property
    def num_valid(self) -> int:
        """The number of answers that chose a letter: the denominator of `agreement`."""
        return sum(self.counts.values())


def majority_vote(letters: Sequence[str | None]) -> Vote:
    """Returns the outcome of a vote; the order of the answers does not matter.

    The label is the plurality winner of self-consistency (Wang et al. 2023, arXiv 2203.11171, section 2) with two
    rules of its own: an invalid answer abstains rather than being a candidate, and a tie gives no label rather than
    the letter that happened to come first.

    Args:
        letters: One extracted letter for each sampled answer, None for an invalid answer.

    Example:
        Five answers, one of them invalid; B has two of the four valid votes.

        >>> majority_vote(["B", "A", None, "B", "C"])
        Vote(label='B', agreement=0.5, counts={'A': 1, 'B': 2, 'C': 1}, num_invalid=1, is_tied=False)
    """
    counts = Counter(letter for letter in letters if letter is not None)
    num_valid = counts.total()
    num_invalid = len(letters) - num_valid
    if num_valid == 0:
        return Vote(label=None, agreement=None, counts={}, num_invalid=num_invalid, is_tied=False)
    most = max(counts.values())
    leaders = [letter for letter, count in counts.items() if count == most]
    return Vote(
        label=leaders[0] if len(leaders) == 1 else None,
        agreement=most / num_valid,
        counts=dict(sorted(counts.items())),
        num_invalid=num_invalid,
        is_tied=len(leaders) > 1,
    )
