from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.training.step_loader import InterleavedLoader, StepLoader

ITEMS = list("abcdefg")


def loader(num_steps=10, num_items_per_step=3, items=ITEMS, seed=1, name="stage"):
    return StepLoader(items, seed, name, num_steps, num_items_per_step)


def drawn(**settings):
    return [item for batch in loader(**settings) for item in batch.items]


def test_steps_are_numbered_and_of_the_same_size():
    batches = list(loader())
    assert [batch.step for batch in batches] == list(range(10))
    assert all(len(batch.items) == 3 for batch in batches)
    assert len(loader()) == 10


@pytest.mark.slow
@given(st.integers(1, 12), st.integers(1, 8), st.integers(1, 20), st.integers(0, 2**40))
def test_every_epoch_is_a_permutation(num_items, per_step, num_steps, seed):
    items = list(range(num_items))
    items_of_steps = drawn(items=items, num_steps=num_steps, num_items_per_step=per_step, seed=seed)
    for start in range(0, len(items_of_steps) - num_items + 1, num_items):
        assert sorted(items_of_steps[start : start + num_items]) == items
    rest = items_of_steps[len(items_of_steps) - len(items_of_steps) % num_items :]
    assert max(Counter(rest).values(), default=0) <= 1


def test_each_epoch_has_another_order():
    items_of_steps = drawn(num_steps=21)  # nine epochs that do not end with a step
    epochs = [tuple(items_of_steps[start : start + 7]) for start in range(0, 63, 7)]
    assert len(set(epochs)) == 9


def test_the_order_does_not_depend_on_the_size_of_a_step():
    assert drawn(num_steps=7, num_items_per_step=3) == drawn(num_steps=3, num_items_per_step=7)


def test_fewer_items_than_a_step_needs_are_repeated():
    (batch,) = loader(num_steps=1, num_items_per_step=5, items=["a", "b"])
    assert sorted(batch.items[:2]) == sorted(batch.items[2:4]) == ["a", "b"]


def test_seed_and_name_decide_the_order():
    assert drawn() == drawn()
    assert len({tuple(drawn(**change)) for change in ({}, {"seed": 2}, {"name": "other"})}) == 3


@pytest.mark.parametrize("num_done", [0, 1, 4, 9, 10])
def test_a_resumed_loader_goes_on_with_the_step_that_comes_next(num_done):
    interrupted, resumed = loader(), loader()
    steps = iter(interrupted)
    done = [next(steps) for _ in range(num_done)]
    resumed.load_state_dict(interrupted.state_dict())
    assert [*done, *resumed] == list(loader())


def test_further_items_of_a_step_do_not_depend_on_earlier_steps():
    settings = {"items": ITEMS, "seed": 1, "name": "stage", "num_steps": 6, "num_items_per_step": 2}
    batches = list(StepLoader(**settings, num_rounds=3))
    assert [batch.items for batch in batches] == [batch.items for batch in StepLoader(**settings)]
    assert all([len(items) for items in batch.further_items] == [2, 2, 2] for batch in batches)
    everything = [item for batch in batches for items in batch.further_items for item in items]
    for start in range(0, 35, 7):  # epochs of a separate order
        assert sorted(everything[start : start + 7]) == ITEMS
    assert everything[:7] != drawn(num_steps=1, num_items_per_step=7)
    resumed = StepLoader(**settings, num_rounds=3)
    resumed.load_state_dict({"next_step": 4})
    assert [batch.further_items for batch in resumed] == [batch.further_items for batch in batches[4:]]


@pytest.mark.slow
@pytest.mark.parametrize("num_processes", [2, 4, 8])
def test_every_process_gets_a_fair_share_of_every_source(num_processes):
    """A quarter of the items is of the first source: at equal distances one process of four would get all of them."""
    loaders = [
        loader(num_steps=100, num_items_per_step=32, items=list(range(32)), name="stage"),
        loader(num_steps=100, num_items_per_step=96, items=list("abc"), name="stage/other"),
    ]
    found = [
        [sum(isinstance(item, int) for item in batch.shard(rank, num_processes).items) for rank in range(num_processes)]
        for batch in InterleavedLoader(loaders, 1, "stage")
    ]
    expected = 32 / num_processes
    for numbers in zip(*found, strict=True):
        assert sum(numbers) / 100 == pytest.approx(expected, rel=0.1)
        assert max(numbers) <= 2.5 * expected


def test_sources_have_their_numbers_in_every_step_and_their_own_orders():
    def made():
        return loader(num_items_per_step=1), loader(num_items_per_step=3, items=list(range(10)), name="stage/other")

    batches = list(InterleavedLoader(made(), 1, "stage"))
    assert [batch.step for batch in batches] == list(range(10))
    for number, alone in enumerate(made()):
        kind = (str, int)[number]
        assert [sorted(item for item in batch.items if isinstance(item, kind)) for batch in batches] == [
            sorted(batch.items) for batch in alone
        ]
    stopped, resumed = InterleavedLoader(made(), 1, "stage"), InterleavedLoader(made(), 1, "stage")
    steps = iter(stopped)
    done = [next(steps) for _ in range(4)]
    resumed.load_state_dict(stopped.state_dict())
    assert [*done, *resumed] == batches
    assert len(stopped) == 10


def test_a_batch_knows_the_one_after_it_also_with_several_sources():
    loaders = [loader(num_steps=3, num_items_per_step=number, name=str(number)) for number in (1, 3)]
    batches = list(InterleavedLoader(loaders, 1, "stage"))
    following = [batch.following and batch.following.items for batch in batches]
    assert following == [batches[1].items, batches[2].items, None]
