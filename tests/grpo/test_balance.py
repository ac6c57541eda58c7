"""Sharing samples out over processes: each completion once, even loads, and the same gradient."""

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.balanced_gradient import KINDS, worker

from medssr.grpo.balance import GroupTokens, balance, num_tokens, share_out
from medssr.grpo.minibatches import Minibatch
from medssr.grpo.rollouts import Sample

GROUPS = st.builds(
    GroupTokens,
    st.integers(0, 400),
    st.lists(st.integers(1, 2000), min_size=1, max_size=8).map(tuple),
)


def loads(groups, shares):
    return [num_tokens(groups, rows) for rows in shares]


def whole(*tokens):
    """Groups of one completion each, which cannot be split."""
    return [GroupTokens(1, (number - 1,)) for number in tokens]


def groups_of(rows):
    return {group for group, _ in rows}


def test_the_largest_group_goes_to_the_process_with_the_least():
    groups = whole(7, 5, 4, 3, 1)  # 7 | 5, 4 to the second, 3 to the first, 1 to the second
    shares = share_out(groups, 2)
    assert [groups_of(rows) for rows in shares] == [{0, 3}, {1, 2, 4}]
    assert loads(groups, shares) == [10, 10]


def test_a_group_stays_together_where_whole_groups_are_even():
    groups = [
        GroupTokens(10, (20, 30)),
        GroupTokens(10, (25, 25)),
        GroupTokens(30, (10, 20)),
        GroupTokens(20, (20, 20)),
    ]
    assert sorted(map(groups_of, share_out(groups, 4)), key=min) == [{0}, {1}, {2}, {3}]


def test_a_group_is_split_where_whole_groups_would_leave_a_process_with_twice_the_mean():
    """Three equal groups on two processes: whole, 1.33 times the mean. Split, 84 + 46 tokens each, of 252 in all."""
    groups = [GroupTokens(4, (20, 20, 20, 20))] * 3
    shares = share_out(groups, 2)
    assert loads(groups, shares) == [84 + 44, 84 + 44]
    assert sorted(len(groups_of(rows)) for rows in shares) == [2, 2]


def test_a_prompt_counts_once_for_each_process_that_has_completions_of_it():
    groups = [GroupTokens(10, (3, 4, 5)), GroupTokens(20, (5,))]
    assert num_tokens(groups, [(0, 0), (0, 2), (1, 0)]) == 10 + 3 + 5 + 20 + 5
    assert num_tokens(groups, []) == 0


def test_a_group_with_a_long_prompt_is_not_split_for_short_completions():
    groups = [GroupTokens(1000, (1, 1))] * 2
    assert sorted(map(groups_of, share_out(groups, 2)), key=min) == [{0}, {1}]
    (all_rows, none) = sorted(share_out(groups[:1], 2), key=len, reverse=True)
    assert num_tokens(groups, all_rows) <= 1002
    assert len(all_rows) + len(none) == 2


@pytest.mark.slow
@given(st.lists(GROUPS, max_size=12), st.integers(1, 8))
def test_each_completion_is_shared_out_once(groups, num_processes):
    shares = share_out(groups, num_processes)
    assert len(shares) == num_processes
    rows = [row for share in shares for row in share]
    assert sorted(rows) == [
        (number, row) for number, group in enumerate(groups) for row in range(len(group.completions))
    ]
    assert all(share == sorted(share) for share in shares)


@pytest.mark.slow
@given(st.lists(GROUPS, min_size=1, max_size=12), st.integers(1, 8))
def test_no_process_has_more_than_the_mean_and_the_largest_group(groups, num_processes):
    """The bound of Graham's rule, which splitting may only improve."""
    totals = [group.count(range(len(group.completions))) for group in groups]
    most = max(loads(groups, share_out(groups, num_processes)))
    assert most <= sum(totals) / num_processes + max(totals) * (1 - 1 / num_processes) + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize(("num_groups", "limit"), [(10, 1.2), (16, 1.2), (32, 1.1), (64, 1.1)])
def test_eight_processes_are_nearly_even_also_where_they_have_few_groups(num_groups, limit):
    draw = random.Random(num_groups)
    for _ in range(5):
        groups = [
            GroupTokens(draw.randint(50, 300), tuple(draw.randint(200, 1200) for _ in range(16)))
            for _ in range(num_groups)
        ]
        shared = loads(groups, share_out(groups, 8))
        assert max(shared) <= limit * sum(shared) / 8


def test_a_sample_is_sent_without_the_tensors_that_its_log_probs_are_parts_of():
    logps = torch.arange(12.0).view(3, 4)
    sample = Sample("q", [1], [2, 3], logps[0, :2], ref_logps=logps[1, :2]).to_send()
    assert (sample.engine_logps.tolist(), sample.old_logps, sample.ref_logps.tolist()) == ([0, 1], None, [4, 5])
    assert sample.engine_logps.untyped_storage().nbytes() == sample.ref_logps.untyped_storage().nbytes() == 8


def test_one_process_keeps_its_minibatches():
    minibatches = [Minibatch([], [], 3.0)]
    assert balance(minibatches, has_shared_prompts=True) == minibatches


@pytest.mark.slow
def test_two_processes_with_even_loads_have_the_gradient_of_the_step_as_it_was_rolled_out(tmp_path):
    torch.multiprocessing.spawn(worker, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    for kind in KINDS:
        for step, (before, after) in enumerate(zip(first[kind]["before"], first[kind]["after"], strict=True)):
            assert torch.equal(after, second[kind]["after"][step])
            assert (before.norm() > 1e-3) == (step < 2)  # nobody has a sample in the last
            assert (after - before).norm() <= 1e-6 * before.norm(), (kind, step)
        # Of 78 tokens before, 72 were of the first process; of 27, none.
        for step, total in ((0, 78), (1, 27)):
            one, other = (process[kind]["tokens"][step] for process in (first, second))
            assert one + other == total
            assert max(one, other) <= 0.6 * total
