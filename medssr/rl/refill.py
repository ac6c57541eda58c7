"""Further questions in place of those that nothing can be learnt from (dynamic sampling, DAPO, arXiv 2503.14476)."""

from __future__ import annotations

from collections.abc import Sequence


def groups_to_train(has_signal: Sequence[bool], num_groups: int) -> list[int]:
    """Returns the places of the groups that a step trains on, in order: with signal first, others where these are few.

    The number stays what it is without refills, so that a step's normaliser counts as many completions.

    Args:
        has_signal: Of each group that was rolled out.
        num_groups: How many groups a step has; at most as many as there are.

    Example:
        >>> groups_to_train([True, False, False, True], num_groups=3)
        [0, 1, 3]
    """
    places = sorted(range(len(has_signal)), key=lambda place: not has_signal[place])
    return sorted(places[:num_groups])
