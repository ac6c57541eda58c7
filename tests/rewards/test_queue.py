"""The results of a step are the same for any order of arrival, any number of processes and any pace of theirs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.rewards.queue import MAX_KILLED_PER_STEP, InputQueue
from medssr.rewards.scoring import FaultKind, RewardResult


class Pretence:
    """Processes that take inputs from a queue; each input is whether it kills its process."""

    def __init__(self, kills, num_workers):
        self.queue = InputQueue("place")
        self.kills = kills
        self.under_way = [[] for _ in range(num_workers)]
        self.num_killed = 0

    def proceed(self, worker, batch_size):
        """Lets a process take inputs if it has none, or else finish one."""
        inputs = self.under_way[worker]
        if not inputs:
            inputs += self.queue.take(batch_size)
            return
        index, has_killed = inputs.pop(0)
        self.num_killed += has_killed
        self.queue.put(index, RewardResult(index), has_killed=has_killed)
        if has_killed:
            self.queue.put_back(inputs)
            inputs.clear()


def in_turn(kills):
    """The values of one process that takes one input after the other; None where one is skipped."""
    values, num_killed = [], 0
    for index, has_killed in enumerate(kills):
        values.append(float(index) if num_killed < MAX_KILLED_PER_STEP else None)
        num_killed += has_killed
    return values


@pytest.mark.slow
@given(st.data())
def test_the_results_are_those_of_one_process_that_takes_one_after_the_other(data):
    kills = data.draw(st.lists(st.booleans(), max_size=12))
    num_workers = data.draw(st.integers(1, 4))
    arrivals = data.draw(st.permutations(range(len(kills))))
    pretence = Pretence(kills, num_workers)
    events = st.tuples(st.integers(0, num_workers - 1), st.integers(1, 3))
    for index in arrivals:
        pretence.queue.add(index, kills[index])
        for event in data.draw(st.lists(events, max_size=4)):
            pretence.proceed(*event)
    pretence.queue.complete()
    for turn in range(1000):
        if pretence.queue.is_done:
            break
        pretence.proceed(turn % num_workers, 1)
    found = pretence.queue.results()
    values = [None if one.fault is not None else one.value for one in found.values()]
    assert values == in_turn(kills)
    assert {one.fault.kind for one in found.values() if one.fault is not None} <= {FaultKind.skipped}
    # Three kills while completions arrive, three in the order of their indices, and those under way beside them.
    assert pretence.num_killed <= 2 * (MAX_KILLED_PER_STEP + num_workers - 1)


def test_after_three_kills_it_waits_for_the_last_arrival():
    queue = InputQueue("place")
    for index in (3, 4, 5):
        queue.add(index, None)
    for index, _ in queue.take(3):
        queue.put(index, RewardResult(0.0), has_killed=True)
    queue.add(0, None)
    assert queue.take(1) == []
    queue.add(9, None)
    queue.complete()
    assert queue.take(9) == [(0, None)]  # 9 is skipped
    queue.put(0, RewardResult(1.0), has_killed=False)
    assert list(queue.results()) == [0, 3, 4, 5, 9]
    assert queue.results()[9].fault.kind is FaultKind.skipped


def test_a_step_without_inputs_is_done_at_once():
    queue = InputQueue("place")
    queue.complete()
    assert queue.is_done
    assert queue.results() == {}
