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


def plan(rare_share: float, seed: int = 7) -> QuestionPlan:
    return QuestionPlan(seed, rare_share, SAMPLER, SEEDS)


def draws(count: int, rare_share: float, seed: int = 7, attempt: int = 0):
    made = plan(rare_share, seed)
    return [made.draw(slot, attempt) for slot in range(count)]


def test_a_draw_depends_on_seed_slot_and_attempt_alone():
    assert plan(0.5).draw(500, 0) == draws(501, 0.5)[500]
    assert plan(0.5).draw(500, 2) == draws(501, 0.5, attempt=2)[500]
    assert plan(0.5).draw(500, 0) != plan(0.5, seed=8).draw(500, 0)


def test_draws_are_the_same_on_every_machine_and_in_every_version():
    item = plan(0.9).draw(3, 0)
    assert item.rho == 0.40329129657370993
    assert item.rng_seed == 7381923901163021421
    assert (item.entity.name, [question.id for question in item.seed_questions]) == ("a", ["q16", "q13"])


@given(seed=st.integers(0, 2**32), block=st.integers(0, 300), percent=st.integers(0, 100))
def test_each_block_of_100_slots_has_exactly_the_share(seed, block, percent):
    made = plan(percent / 100, seed)
    injected = sum(made.draw(slot, 0).is_injected for slot in range(100 * block, 100 * block + 100))
    assert injected == percent


def test_a_share_between_two_percents_is_reached_on_the_average():
    injected = [sum(item.is_injected for item in draws(10_000, 0.055)[start : start + 100]) for start in (0, 100, 200)]
    assert set(injected) <= {5, 6}
    assert abs(sum(item.is_injected for item in draws(10_000, 0.055)) - 550) < 30


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
        QuestionPlan(7, 0.5, SAMPLER, SEEDS[:1])
