from __future__ import annotations

import random
from collections import Counter

from medssr.knowledge.facts import Entity, Fact
from medssr.synthesis.fact_questions import DistractorPool, write_fact_question

ENTITIES = [
    Entity(f"disease {gene}", True, facts=(Fact("gene", gene, "s"),)) for gene in ("G1", "G2", "G3", "G4", "G5")
]
STEMS = ("Which gene causes {entity}?", "Name the gene of {entity}?")


def test_a_question_holds_the_truth_and_distractors_of_the_same_relation():
    entities = [*ENTITIES, Entity("other", True, facts=(Fact("organ", "liver", "s"),))]
    pool = DistractorPool(entities)
    for seed in range(50):
        question = write_fact_question(ENTITIES[0], ENTITIES[0].facts[0], pool, STEMS, 4, random.Random(seed))
        assert question.options[question.truth] == "G1"
        assert list(question.options) == ["A", "B", "C", "D"]
        assert len(set(question.options.values())) == 4
        assert set(question.options.values()) <= {"G1", "G2", "G3", "G4", "G5"}
        assert question.stem in {"Which gene causes disease G1?", "Name the gene of disease G1?"}


def test_values_that_are_true_as_well_are_no_distractors():
    fact = Fact("gene", "G1", "s", also_true=("G2",))
    assert DistractorPool(ENTITIES).distractors(fact) == ["G3", "G4", "G5"]


def test_too_few_distractors_make_no_question():
    pool = DistractorPool(ENTITIES)
    fact = ENTITIES[0].facts[0]
    assert write_fact_question(ENTITIES[0], fact, pool, STEMS, 5, random.Random(0)) is not None
    assert write_fact_question(ENTITIES[0], fact, pool, STEMS, 6, random.Random(0)) is None
    assert write_fact_question(ENTITIES[0], Fact("organ", "x", "s"), pool, STEMS, 2, random.Random(0)) is None


def test_the_right_option_takes_every_letter_equally_often():
    pool = DistractorPool(ENTITIES)
    rng = random.Random(1)
    fact = ENTITIES[0].facts[0]
    truths = Counter(write_fact_question(ENTITIES[0], fact, pool, STEMS, 4, rng).truth for _ in range(2_000))
    assert all(400 < truths[letter] < 600 for letter in "ABCD")


def test_the_same_seed_writes_the_same_question_whatever_the_order_of_the_table():
    fact = ENTITIES[0].facts[0]
    first = write_fact_question(ENTITIES[0], fact, DistractorPool(ENTITIES), STEMS, 4, random.Random(3))
    second = write_fact_question(ENTITIES[0], fact, DistractorPool(ENTITIES[::-1]), STEMS, 4, random.Random(3))
    assert first == second


def test_a_question_names_the_subject_of_a_fact_in_place_of_the_disease():
    facts = [Fact("disease_of_gene", entity.name, "s", subject=entity.facts[0].value) for entity in ENTITIES]
    entities = [Entity(entity.name, True, facts=(fact,)) for entity, fact in zip(ENTITIES, facts, strict=True)]
    question = write_fact_question(entities[0], facts[0], DistractorPool(entities), STEMS, 4, random.Random(0))
    assert question.stem in {"Which gene causes G1?", "Name the gene of G1?"}
    assert question.options[question.truth] == "disease G1"


def test_the_number_of_distractors_counts_wrong_values_alone():
    pool = DistractorPool(ENTITIES)
    for also_true in ((), ("G2",), ("G2", "G3"), ("G2", "elsewhere", "nowhere", "never")):
        for value in ("G1", "new"):
            fact = Fact("gene", value, "s", also_true)
            for count in range(7):
                assert pool.has_distractors(fact, count) == (len(pool.distractors(fact)) >= count)
    assert not pool.has_distractors(Fact("organ", "x", "s"), 1)
