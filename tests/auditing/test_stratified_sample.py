from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.auditing.stratified_sample import allocate, draw_sample, length_classes, mark_stratum, read_sample
from medssr.questions import Question, write_questions

OPTIONS = {"A": "liver", "B": "heart"}


def question(number: int, words: int = 5, **fields) -> Question:
    return Question(f"q{number}", " ".join(["word"] * words), OPTIONS, None, "toy", **fields)


def population(count: int = 300) -> list[Question]:
    """Returns questions of which a tenth are rare, with stems of 1 to 30 words."""
    return [question(n, words=1 + n % 30, is_rare=n % 10 == 0) for n in range(count)]


@pytest.mark.slow
@given(
    st.dictionaries(st.text(max_size=3), st.integers(1, 500), min_size=1, max_size=12).flatmap(
        lambda sizes: st.tuples(st.just(sizes), st.integers(len(sizes), sum(sizes.values())))
    )
)
def test_allocation_is_whole_fills_every_stratum_and_asks_none_for_more_than_it_has(case):
    sizes, num_questions = case
    counts = allocate(sizes, num_questions)
    assert sum(counts.values()) == num_questions
    assert all(1 <= counts[name] <= sizes[name] for name in sizes)
    shares = {name: num_questions * size / sum(sizes.values()) for name, size in sizes.items()}
    assert all(counts[name] < shares[name] + 1 or counts[name] == 1 for name in sizes)


def test_allocation_by_hand():
    # Shares of 100: 90, 9 and 1; of 10: 9, 0.9 and 0.1, where the least has to have one.
    assert allocate({"a": 900, "b": 90, "c": 10}, 100) == {"a": 90, "b": 9, "c": 1}
    assert allocate({"a": 900, "b": 90, "c": 10}, 10) == {"a": 8, "b": 1, "c": 1}


def test_length_classes_are_terciles():
    assert Counter(length_classes(range(90))) == {"short": 30, "medium": 30, "long": 30}
    assert set(length_classes([7] * 5)) == {"short"}


def test_a_sample_has_every_stratum_in_proportion_and_knows_its_weight():
    names, sample = draw_sample(population, 60, seed=1)
    assert names == ("rarity", "length")  # no subject is known
    assert len({item.question.id for item in sample}) == 60
    sizes = {item.stratum: item.stratum_size for item in sample}
    assert sum(sizes.values()) == 300
    counts = Counter(item.stratum for item in sample)
    assert counts == allocate(sizes, 60)
    assert sum(counts[name] for name in counts if name.startswith("rare")) == 6
    assert {name.split(", ")[0] for name in counts} == {"rare", "general"}


def test_a_sample_depends_on_seed_and_ids_and_not_on_the_order_of_the_file():
    shuffled = population()
    random.Random(3).shuffle(shuffled)
    _, first = draw_sample(population, 60, seed=1)
    _, again = draw_sample(lambda: shuffled, 60, seed=1)
    _, other = draw_sample(population, 60, seed=2)
    assert first == again
    assert {item.question.id for item in first} != {item.question.id for item in other}


def test_the_order_of_a_sample_does_not_tell_the_strata():
    _, sample = draw_sample(population, 60, seed=1)
    rare_places = [place for place, item in enumerate(sample) if item.question.is_rare]
    assert min(rare_places) < 30 <= max(rare_places)


@pytest.mark.parametrize(
    ("num_questions", "names"),
    [
        (200, ("rarity", "subject", "length")),
        (30, ("rarity", "length")),
        (5, ("rarity",)),
        (3, ()),
        (1, ()),
    ],
)
def test_strata_are_no_finer_than_the_sample_can_fill(num_questions, names):
    organs = ["heart", "lung", "liver", "brain", "skin"]
    cases = [question(n, words=1 + n % 30, is_rare=n % 2 == 0, entity=organs[n % 5]) for n in range(600)]
    found, sample = draw_sample(lambda: cases, num_questions, seed=1)
    assert found == names
    assert len(sample) == num_questions


def test_the_subject_is_the_specialty_that_the_words_point_to():
    cases = [question(n, entity="heart failure") for n in range(20)]
    cases += [question(n, entity="Gaucher disease") for n in range(20, 40)]
    names, sample = draw_sample(lambda: cases, 20, seed=1)
    assert names == ("subject",)  # rarity and length are the same for all
    assert {item.stratum for item in sample} == {"cardiology", "unknown"}


def test_everything_is_taken_when_there_is_no_more_than_asked_for():
    _, sample = draw_sample(lambda: population(7), 200, seed=1)
    assert {item.question.id for item in sample} == {f"q{n}" for n in range(7)}


def test_a_sample_can_be_written_and_read(tmp_path):
    _, sample = draw_sample(population, 20, seed=1)
    write_questions(tmp_path / "sample.jsonl", (mark_stratum(item) for item in sample))
    read = list(read_sample(tmp_path / "sample.jsonl"))
    assert [(item.question.id, item.stratum, item.stratum_size) for item in read] == [
        (item.question.id, item.stratum, item.stratum_size) for item in sample
    ]
