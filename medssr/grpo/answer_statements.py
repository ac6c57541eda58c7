"""Finds the tokens of a completion that state its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

# Statements with at most so many tokens between them are one: "B. Warfarin", "warfarin (option B)".
_MAX_GAP = 4
# Up to so many tokens, each number is tried: "B." may read as the answer, and "is B." not.
_NUM_SINGLE_STEPS = 16
# Before so many statements, all tokens are taken for one: a text that repeats its answer on and on is read no further.
_MAX_STATEMENTS = 16


def answer_statements(
    token_ids: Sequence[int], letter: str, reads: Callable[[Sequence[int]], str | None]
) -> tuple[range, ...]:
    """Returns the indices of the tokens of each statement of the answer, the last statement first.

    The tokens of a statement alone read as the answer, and the tokens before the first statement do not. For the last
    one they are the fewest at the end that read as the answer, without those behind it that change nothing. Their
    number is looked for in single steps, then in steps that double and are halved, so that an answer near the end,
    where it mostly is, takes readings of few tokens, and one of all others that shows that they state no answer.

    Args:
        token_ids: The tokens of a completion in which the answer is read.
        letter: The answer.
        reads: Returns the answer that is read in some tokens.

    Example:
        >>> reads = lambda ids: "B" if 7 in ids else None
        >>> answer_statements([7, 1, 1, 1, 1, 1, 7, 2, 7, 3], "B", reads)
        (range(6, 9), range(0, 1))
    """
    statements: list[range] = []
    before = token_ids
    for _ in range(_MAX_STATEMENTS):
        last = _last_statement(before, lambda ids: reads(ids) == letter)
        if statements and statements[-1].start - last.stop <= _MAX_GAP:
            statements[-1] = range(last.start, statements[-1].stop)
        else:
            statements.append(last)
        before = before[: last.start]
        if reads(before) != letter:
            return tuple(statements)
    return (*statements, range(len(before)))


def _last_statement(token_ids: Sequence[int], states: Callable[[Sequence[int]], bool]) -> range:
    """Returns the indices of the tokens of the last statement, where `states` says whether some tokens have one."""
    num_last = _fewest(len(token_ids), lambda number: states(token_ids[-number:]))
    start = len(token_ids) - num_last
    return range(start, start + _fewest(num_last, lambda number: states(token_ids[start : start + number])))


def _fewest(largest: int, suffices: Callable[[int], bool]) -> int:
    """Returns a number from 1 on that suffices, while the one before it does not; `largest` is known to suffice.

    Example:
        >>> _fewest(1000, lambda number: number >= 5)
        5
    """
    too_few, enough = 0, 1
    while enough < largest and not suffices(enough):
        too_few, enough = enough, enough + 1 if enough < _NUM_SINGLE_STEPS else 2 * enough
    enough = min(enough, largest)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if suffices(middle):
            enough = middle
        else:
            too_few = middle
    return enough
