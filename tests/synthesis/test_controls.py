from __future__ import annotations

from collections import Counter

import pytest

from medssr.errors import InputError
from medssr.knowledge.entities import EntitySampler
from medssr.knowledge.facts import Entity
from medssr.questions import Question
from medssr.synthesis.controls import draw

SEEDS = [Question(f"q{number}", "Which organ?", {"A": "liver", "B": "heart"}, "A", "seeds") for number in range(20)]
SAMPLER = EntitySampler([Entity(name, True) for name in "abcdefghij"])


def draws(count: int, rare_share: float, seed: int = 7):
    return [draw(seed, index, rare_share, SAMPLER, SEEDS) for index in range(count)]


def test_a_draw_is_a_pure_function_of_its_arguments():
    assert draw(7, 500, 0.5, SAMPLER, SEEDS) == draws(501, 0.5)[500]
    assert draw(7, 500, 0.5, SAMPLER, SEEDS) != draw(8, 500, 0.5, SAMPLER, SEEDS)


def test_draws_are_the_same_on_every_machine_and_in_every_version():
    item = draw(7, 3, 0.9, SAMPLER, SEEDS)
    assert item.rho == 0.4868258809542475
    assert item.rng_seed == 5149698966599674227
    assert (item.entity.name, [question.id for question in item.seed_questions]) == ("e", ["q17", "q8"])


def test_the_share_of_injected_questions_is_rare_share():
    count = 5_000
    for rare_share in (0.1, 0.5, 0.8):
        injected = sum(item.is_injected for item in draws(count, rare_share))
        assert abs(injected / count - rare_share) < 0.03


def test_the_ends_of_the_range_inject_nothing_and_everything():
    assert not any(item.is_injected for item in draws(200, 0.0))
    assert all(item.is_injected for item in draws(200, 1.0))


def test_injection_is_rho_below_rare_share_and_brings_an_entity():
    for item in draws(300, 0.4):
        assert 0 <= item.rho < 1
        assert item.is_injected == (item.rho < 0.4) == (item.entity is not None)


def test_a_greater_share_injects_into_the_same_questions_and_more():
    few = {item.index for item in draws(300, 0.2) if item.is_injected}
    many = {item.index for item in draws(300, 0.6) if item.is_injected}
    assert few < many


def test_injected_questions_use_every_entity_before_any_again():
    names = [item.entity.name for item in draws(6_000, 0.5) if item.entity]  # More than one block of the count.
    size = len(SAMPLER)
    for start in range(0, len(names) - size, size):
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
        draw(7, 0, rare_share, SAMPLER, SEEDS)


def test_fewer_than_two_seed_questions_are_an_error():
    with pytest.raises(InputError, match="1 seed questions"):
        draw(7, 0, 0.5, SAMPLER, SEEDS[:1])
