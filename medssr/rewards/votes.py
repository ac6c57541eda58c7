"""Rewards by the votes of a question's own completions, taken anew at each visit: majority and frequency."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from medssr.errors import require
from medssr.labeling.votes import majority_vote
from medssr.rewards.groups import GroupInput, GroupScore


class MajorityVote:
    """Rewards the answer that most completions of the question give with 1, any other with 0.

    r_i = 1[a_i = majority(a_1 ... a_G)], the reward of TTRL (arXiv 2504.16084) and SRT (arXiv 2505.21444). A completion
    without a valid answer is no candidate, and a tie rewards nobody.

    Args:
        weight: Weight in the sum of rewards.
        num_trained: The first so many completions are trained; the others only vote. None for all.

    Raises:
        InputError: When fewer than two completions would be trained.
    """

    decides_signal = True
    is_label_free = True

    def __init__(self, weight: float, num_trained: int | None) -> None:
        problem = f"{num_trained}; an advantage compares completions, so at least 2, or null for all."
        is_number = isinstance(num_trained, int) and num_trained >= 2
        require(num_trained is None or is_number, "MajorityVote.num_trained", problem)
        self.weight = weight
        self._num_trained = num_trained

    def score_group(self, group: GroupInput) -> GroupScore:
        """Returns 1.0 for the majority's answer, 0.0 for others, and None for completions that only vote."""
        letters = group.letters
        label = majority_vote(letters).label
        trained = letters[: self._num_trained]
        rewards = [float(label is not None and letter == label) for letter in trained]
        return GroupScore([*rewards, *[None] * (len(letters) - len(trained))], label=label)


class AnswerFrequency:
    """Rewards an answer with the fraction of the completions that give it: a soft majority.

    r_i = |{j: a_j = a_i}| / G. It is the reward of EMPO (arXiv 2504.05812) where answers have the same meaning if they
    have the same letter, and of OM-GRPO (arXiv 2608.03119), which does not train the answer itself. A completion
    without a valid answer agrees with itself alone.

    Args:
        weight: Weight in the sum of rewards.
        min_share: If the most frequent answer has a smaller fraction, all rewards are 0, so that the question, on which
            the policy does not agree with itself at all, is not trained; 0 for no such bound.
        masks_answer: Whether the tokens that state the answer are left out of the loss.

    Raises:
        InputError: When the bound is no fraction.
    """

    decides_signal = True
    is_label_free = True

    def __init__(self, weight: float, min_share: float, masks_answer: bool) -> None:
        require(0 <= min_share <= 1, "AnswerFrequency.min_share", f"{min_share}; 0 to 1.")
        self.weight = weight
        self.needs_answer_tokens = masks_answer
        self._min_share = min_share

    def score_group(self, group: GroupInput) -> GroupScore:
        """Returns the fraction of each completion's answer; the label is the answer of the most."""
        letters = group.letters
        shares = answer_shares(letters)
        if max(shares) < self._min_share:
            shares = [0.0] * len(shares)
        return GroupScore(shares, token_masks=self._masks(group), label=majority_vote(letters).label)

    def _masks(self, group: GroupInput) -> list[tuple[bool, ...] | None] | None:
        if group.answer_tokens is None or not self.needs_answer_tokens:
            return None
        pairs = zip(group.completions, group.answer_tokens, strict=True)
        return [
            None
            if statements is None
            else tuple(not any(index in part for part in statements) for index in range(len(completion.token_ids)))
            for completion, statements in pairs
        ]


def answer_shares(letters: Sequence[str | None]) -> list[float]:
    """Returns for each answer the fraction of all answers that equal it; one without a letter equals itself alone.

    Example:
        >>> answer_shares(["A", "B", "A", None, None])
        [0.4, 0.2, 0.4, 0.2, 0.2]
    """
    counts = Counter(letters)
    return [(1 if letter is None else counts[letter]) / len(letters) for letter in letters]
