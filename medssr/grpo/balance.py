"""Shares the samples of an optimiser step out over the processes, so that none waits long for another.

After groups without signal have left, processes have different numbers of tokens to train on, and each optimiser step
takes as long as the process with the most. A process computes a prompt once for all of its completions, so the
completions of a prompt stay together where that is possible. Where a group is too large for that, it is split, and each
of its parts has the prompt. The gradient does not change: it is a sum over samples, divided by a number of the step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush, heapreplace

from medssr.grpo.minibatches import Minibatch
from medssr.grpo.rollouts import Sample
from medssr.utils.processes import gather_objects, num_processes, rank

# A completion: the number of its group, and its number in the group.
Row = tuple[int, int]

# The loads, as multiples of the mean, above which a process gets no whole group if a part of it fits; without a limit,
# no group is split. All are tried, since which of them ends with the lowest load depends on the lengths.
_LIMITS = (math.inf, 1.5, 1.3, 1.2, 1.15, 1.1, 1.07, 1.05, 1.03, 1.01)


@dataclass(frozen=True, slots=True)
class GroupTokens:
    """What the completions of a prompt cost.

    Attributes:
        shared: Number of tokens that a process computes once for all completions of the group that it has.
        completions: Number of further tokens of each completion.
    """

    shared: int
    completions: tuple[int, ...]

    def count(self, rows: Sequence[int]) -> int:
        """Returns the number of tokens of some completions of the group, at least one, on one process."""
        return self.shared + sum(self.completions[row] for row in rows)


def share_out(groups: Sequence[GroupTokens], num_processes: int) -> list[list[Row]]:
    """Returns the completions of each process, sorted, such that the process with the most tokens has few.

    By the rule "longest processing time first" (Graham 1969): the largest group goes to the process with the least,
    then the next one. Where a limit would be exceeded, a part that fits goes there, and the rest is a smaller group.

    Args:
        groups: The groups of the optimiser step.
        num_processes: Number of processes.

    Example:
        >>> share_out([GroupTokens(1, (9, 9)), GroupTokens(1, (4, 5)), GroupTokens(1, (3, 4))], 2)
        [[(0, 0), (0, 1)], [(1, 0), (1, 1), (2, 0), (2, 1)]]
        >>> share_out([GroupTokens(1, (9, 9))], 2)
        [[(0, 0)], [(0, 1)]]
    """
    mean = sum(group.count(range(len(group.completions))) for group in groups) / num_processes
    arrangements = [_fill(groups, num_processes, limit * mean) for limit in _LIMITS]
    return min(arrangements, key=lambda shares: max(num_tokens(groups, rows) for rows in shares))


def num_tokens(groups: Sequence[GroupTokens], rows: Sequence[Row]) -> int:
    """Returns the number of tokens that a process computes for its completions.

    Example:
        >>> num_tokens([GroupTokens(10, (3, 4)), GroupTokens(20, (5,))], [(0, 0), (0, 1)])
        17
    """
    shared = sum(groups[group].shared for group in {group for group, _ in rows})
    return shared + sum(groups[group].completions[row] for group, row in rows)


def _fill(groups: Sequence[GroupTokens], num_processes: int, limit: float) -> list[list[Row]]:
    """Returns the completions of each process if no process gets more than a limit, as far as that is possible."""
    parts = [
        (-group.count(range(len(group.completions))), number, list(range(len(group.completions))))
        for number, group in enumerate(groups)
    ]
    heapify(parts)  # the largest first
    loads = [(0, process) for process in range(num_processes)]  # a heap: the lowest first
    shares: list[list[Row]] = [[] for _ in loads]
    while parts:
        _, number, rows = heappop(parts)
        load, process = loads[0]
        group = groups[number]
        chosen = _fitting(group, rows, limit - load)
        rest = [row for row in rows if row not in chosen]
        if rest:
            heappush(parts, (-group.count(rest), number, rest))
        shares[process] += [(number, row) for row in chosen]
        heapreplace(loads, (load + group.count(chosen), process))
    return [sorted(rows) for rows in shares]


def _fitting(group: GroupTokens, rows: Sequence[int], room: float) -> list[int]:
    """Returns the completions that fit into the room with their prompt, the longest first; one if none fits."""
    used = group.shared
    longest_first = sorted(rows, key=lambda row: (-group.completions[row], row))
    chosen = []
    for row in longest_first:
        if used + group.completions[row] <= room:
            chosen.append(row)
            used += group.completions[row]
    return chosen or longest_first[:1]


def balance(minibatches: Sequence[Minibatch], *, has_shared_prompts: bool) -> list[Minibatch]:
    """Returns this process's share of each minibatch after all processes have shared their samples out anew.

    All processes call it together, with equally many minibatches. Normalisers stay as they are, so they must be those
    of the whole step, and not of a process (`PolicyLoss.is_global_mean`).

    Args:
        minibatches: The minibatches of this process, with the samples that it has rolled out.
        has_shared_prompts: Whether a prompt is computed once for all completions of a micro-batch (packed rows).
    """
    if num_processes() == 1:
        return list(minibatches)
    local = [_by_prompt(minibatch.samples) for minibatch in minibatches]
    costs = [
        [_tokens_of([minibatch.samples[index] for index in group], has_shared_prompts) for group in groups]
        for minibatch, groups in zip(minibatches, local, strict=True)
    ]
    plans = []
    for by_process in zip(*gather_objects(costs), strict=True):
        first_group = sum(map(len, by_process[: rank()]))
        shares = share_out([group for groups in by_process for group in groups], len(by_process))
        plans.append((first_group, shares))

    rolled_out = [
        {
            (first_group + number, row): (minibatch.samples[index], minibatch.advantages[index])
            for number, group in enumerate(groups)
            for row, index in enumerate(group)
        }
        for minibatch, groups, (first_group, _) in zip(minibatches, local, plans, strict=True)
    ]
    leaving = [_leaving(rows, set(shares[rank()])) for rows, (_, shares) in zip(rolled_out, plans, strict=True)]
    arrived = gather_objects(leaving)
    balanced = []
    for number, (minibatch, (_, shares)) in enumerate(zip(minibatches, plans, strict=True)):
        rows = rolled_out[number].copy()
        for by_minibatch in arrived:
            rows |= by_minibatch[number]
        chosen = [rows[row] for row in shares[rank()]]
        samples, advantages = [sample for sample, _ in chosen], [advantage for _, advantage in chosen]
        balanced.append(replace(minibatch, samples=samples, advantages=advantages))
    return balanced


def _by_prompt(samples: Sequence[Sample]) -> list[list[int]]:
    """Returns the indices of the samples of each prompt."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, sample in enumerate(samples):
        groups.setdefault(tuple(sample.prompt_ids), []).append(index)
    return list(groups.values())


def _tokens_of(samples: Sequence[Sample], has_shared_prompts: bool) -> GroupTokens:
    if has_shared_prompts:
        return GroupTokens(len(samples[0].prompt_ids), tuple(len(sample.completion_ids) for sample in samples))
    return GroupTokens(0, tuple(sample.num_tokens for sample in samples))


def _leaving(rows: Mapping[Row, tuple[Sample, float]], kept: set[Row]) -> dict[Row, tuple[Sample, float]]:
    """Returns the samples of this process that go to another, ready to be sent."""
    return {row: (sample.to_send(), advantage) for row, (sample, advantage) in rows.items() if row not in kept}
