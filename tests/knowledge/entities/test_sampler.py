from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.errors import InputError
from medssr.knowledge.entities import EntitySampler
from medssr.knowledge.facts import Entity

ENTITIES = [Entity(name, True) for name in "abcdefg"]


def test_every_entity_is_drawn_once_before_any_is_drawn_again():
    sampler = EntitySampler(ENTITIES)
    draws = [sampler.sample(3, number) for number in range(3 * len(ENTITIES))]
    for epoch in range(3):
        chunk = draws[epoch * len(ENTITIES) : (epoch + 1) * len(ENTITIES)]
        assert {entity.name for entity, _ in chunk} == set("abcdefg")
        assert {visit for _, visit in chunk} == {epoch}


def test_a_draw_depends_on_seed_and_number_alone():
    numbers = range(30)
    first = [EntitySampler(ENTITIES).sample(5, number) for number in numbers]
    sampler = EntitySampler(ENTITIES)
    assert [sampler.sample(5, number) for number in reversed(numbers)] == first[::-1]
    assert [sampler.sample(6, number) for number in numbers] != first


def test_each_entity_is_as_likely_to_come_first():
    sampler = EntitySampler(ENTITIES)
    counts = Counter(sampler.sample(seed, 0)[0].name for seed in range(1_400))
    assert all(150 < counts[name] < 250 for name in "abcdefg")


def test_an_empty_entity_list_is_an_error():
    with pytest.raises(InputError, match="empty"):
        EntitySampler([])


WEIGHTED = [replace(entity, weight=weight) for entity, weight in zip(ENTITIES, [8, 4, 2, 1, 1, 1, 1], strict=True)]


def test_a_weighted_draw_repeats_nothing_until_the_list_is_used_up():
    sampler = EntitySampler(WEIGHTED)
    for epoch in range(3):
        draws = [sampler.sample(3, number) for number in range(epoch * 7, epoch * 7 + 7)]
        assert {entity.name for entity, _ in draws} == set("abcdefg")
        assert {visit for _, visit in draws} == {epoch}


def test_the_first_is_drawn_in_proportion_to_the_weights_and_the_next_among_the_rest():
    sampler = EntitySampler(WEIGHTED)
    firsts, seconds = Counter(), Counter()
    for seed in range(3_600):
        first, second = sampler.sample(seed, 0)[0].name, sampler.sample(seed, 1)[0].name
        firsts[first] += 1
        seconds[second] += first == "a"
    expected = {"a": 1_600, "b": 800, "c": 400, "d": 200, "e": 200, "f": 200, "g": 200}  # of 18 parts
    assert all(abs(firsts[name] - count) < 4 * count**0.5 for name, count in expected.items())
    assert abs(seconds["b"] / firsts["a"] - 0.4) < 0.05  # 4 of the 10 parts that are left


def test_a_weighted_draw_depends_on_seed_and_number_alone():
    first = [EntitySampler(WEIGHTED).sample(5, number) for number in range(30)]
    sampler = EntitySampler(WEIGHTED)
    assert [sampler.sample(5, number) for number in reversed(range(30))] == first[::-1]


@pytest.mark.slow
@given(st.floats(1e-3, 1e3))
def test_only_the_ratio_of_weights_counts(factor):
    scaled = [replace(entity, weight=entity.weight * factor) for entity in ENTITIES]
    expected = [EntitySampler(ENTITIES).sample(0, number) for number in range(7)]
    drawn = [EntitySampler(scaled).sample(0, number) for number in range(7)]
    assert [entity.name for entity, _ in drawn] == [entity.name for entity, _ in expected]


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf")])
def test_a_weight_that_is_no_weight_is_an_error(weight):
    with pytest.raises(InputError, match='"b" has the weight'):
        EntitySampler([Entity("a", True), Entity("b", True, weight=weight)])
