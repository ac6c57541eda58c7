from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.errors import InputError
from medssr.knowledge.entities import EntitySampler
from medssr.knowledge.facts import Entity
from medssr.questions import Question
from medssr.synthesis.plan import QuestionPlan

SEEDS = [Question(f"q{number}", "Which organ?", {"A": "liver", "B": "heart"}, "A", "seeds") for number in range(20)]
SAMPLER = EntitySampler([Entity(name, True) for name in "abcdefghij"])


def plan(rare_share: float, seed: int = 7, num_slots: int = 1000) -> QuestionPlan:
    return QuestionPlan(seed, num_slots, rare_share, SAMPLER, SEEDS)


def draws(count: int, rare_share: float, seed: int = 7, attempt: int = 0):
    made = plan(rare_share, seed, count)
    return [made.draw(slot, attempt) for slot in range(count)]


def test_a_draw_depends_on_seed_slot_and_attempt_alone():
    assert plan(0.5).draw(500, 0) == draws(1000, 0.5)[500]
    assert plan(0.5).draw(500, 2) == draws(1000, 0.5, attempt=2)[500]
    assert plan(0.5).draw(500, 0) != plan(0.5, seed=8).draw(500, 0)


def test_draws_are_the_same_on_every_machine_and_in_every_version():
    item = plan(0.9).draw(3, 0)
    assert item.rho == 0.4035
    assert item.rng_seed == 7381923901163021421
    assert (item.entity.name, [question.id for question in item.seed_questions]) == ("a", ["q16", "q13"])


def num_injected(items) -> int:
    return sum(item.is_injected for item in items)


@pytest.mark.slow
@given(seed=st.integers(0, 2**32), num_slots=st.integers(1, 450), rare_share=st.floats(0, 1))
def test_the_number_of_injected_slots_is_as_near_to_the_share_as_it_can_be(seed, num_slots, rare_share):
    assert abs(num_injected(draws(num_slots, rare_share, seed)) - num_slots * rare_share) <= 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_slots", "rare_share", "expected"),
    [(20, 0.5, 10), (1, 0.4, 0), (1, 0.6, 1), (7, 0.3, 2), (10_000, 0.055, 550)],
)
def test_few_slots_have_the_share_whatever_the_seed(num_slots, rare_share, expected):
    assert {num_injected(draws(num_slots, rare_share, seed)) for seed in range(20)} == {expected}


@pytest.mark.slow
def test_which_slots_are_injected_is_drawn_by_the_seed():
    times = [0] * 20
    for seed in range(400):
        for item in draws(20, 0.5, seed):
            times[item.slot] += item.is_injected
    assert sum(times) == 400 * 10
    assert all(150 < count < 250 for count in times)  # 200 with a standard deviation of 10


@pytest.mark.slow
@given(seed=st.integers(0, 2**32), block=st.integers(0, 30), percent=st.integers(0, 100))
def test_each_block_of_100_slots_has_the_share(seed, block, percent):
    made = plan(percent / 100, seed, num_slots=3_100)
    assert num_injected(made.draw(slot, 0) for slot in range(100 * block, 100 * block + 100)) == percent


@pytest.mark.slow
@given(seed=st.integers(0, 2**32), more=st.integers(0, 700), rare_share=st.floats(0, 1))
def test_with_more_slots_hardly_any_of_the_first_ones_changes_to_the_other_kind(seed, more, rare_share):
    few, many = (plan(rare_share, seed, num_slots) for num_slots in (300, 300 + more))
    changed = [slot for slot in range(300) if few.draw(slot, 0).is_injected != many.draw(slot, 0).is_injected]
    assert len(changed) <= 20


def test_rho_is_uniform_at_each_place_and_its_order_is_drawn():
    rhos = [item.rho for item in draws(5_000, 0.5)]
    first_of_block = sorted(rhos[::100])
    assert all(abs(rho - (place + 0.5) / 50) < 0.2 for place, rho in enumerate(first_of_block))
    # The block's own order says nothing about the next one: neighbours are as often above each other as below.
    rises = sum(rhos[slot] < rhos[slot + 1] for slot in range(4_999))
    assert abs(rises / 4_999 - 0.5) < 0.03
    assert len(set(rhos)) == 5_000


def test_injection_is_rho_below_rare_share_and_brings_an_entity():
    for item in draws(300, 0.4):
        assert 0 <= item.rho < 1
        assert item.is_injected == (item.rho < 0.4) == (item.entity is not None)


def test_a_greater_share_injects_into_the_same_slots_and_more():
    few = {item.slot for item in draws(300, 0.2) if item.is_injected}
    many = {item.slot for item in draws(300, 0.6) if item.is_injected}
    assert few < many


def test_another_attempt_keeps_rho_and_draws_everything_else_anew():
    first, second = draws(300, 0.5), draws(300, 0.5, attempt=1)
    assert [item.rho for item in first] == [item.rho for item in second]
    pairs = [pair for pair in zip(first, second, strict=True) if pair[0].is_injected]
    assert len(pairs) == 150
    # Ten entities, so one in ten is the same by chance; it then comes with another turn.
    assert sum(one.entity == other.entity for one, other in pairs) < 30
    assert all((one.entity, one.entity_turn) != (other.entity, other.entity_turn) for one, other in pairs)
    assert sum(one.seed_questions == other.seed_questions for one, other in zip(first, second, strict=True)) < 10
    assert not {item.rng_seed for item in first} & {item.rng_seed for item in second}


@pytest.mark.slow
@pytest.mark.parametrize("attempt", [0, 1, 2])
def test_injected_slots_use_every_entity_before_any_again(attempt):
    names = [item.entity.name for item in draws(6_000, 0.5, attempt=attempt) if item.entity]
    size = len(SAMPLER)
    shift = -attempt * 1_000_003 % size  # to the sampler's next round
    for start in range(shift, len(names) - size, size):
        assert len(set(names[start : start + size])) == size


def test_the_turn_of_an_entity_rises_by_one_with_each_visit():
    turns: dict[str, list[int]] = {}
    for item in draws(300, 0.5):
        if item.entity:
            turns.setdefault(item.entity.name, []).append(item.entity_turn)
    assert all(turn == list(range(turn[0], turn[0] + len(turn))) for turn in turns.values())
    assert len({turn[0] for turn in turns.values()}) > 1


def test_seed_questions_are_two_different_ones_and_all_are_used():
    counts = Counter(question.id for item in draws(500, 0.5) for question in item.seed_questions)
    assert all(item.seed_questions[0] != item.seed_questions[1] for item in draws(500, 0.5))
    assert len(counts) == len(SEEDS)


@pytest.mark.parametrize("rare_share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_zero_to_one_is_an_error(rare_share):
    with pytest.raises(InputError, match="from 0 to 1"):
        plan(rare_share)


def test_fewer_than_two_seed_questions_are_an_error():
    with pytest.raises(InputError, match="1 seed questions"):
        QuestionPlan(7, 10, 0.5, SAMPLER, SEEDS[:1])
