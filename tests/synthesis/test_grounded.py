from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import dataclass

import pytest

from medssr.errors import InputError
from medssr.knowledge.entities import EntitySampler
from medssr.knowledge.facts import Entity, Fact, builtin_common_diseases, builtin_rare_diseases, relations
from medssr.questions import Question
from medssr.synthesis.filters import FilterLimits, check_draft
from medssr.synthesis.generators import Draft, Rejection
from medssr.synthesis.grounded import DistractorPool, GroundedGenerator, write_fact_question
from medssr.synthesis.plan import QuestionPlan, SynthesisRequest

SEEDS = [Question(f"q{number}", "Which organ?", {"A": "liver", "B": "heart"}, "A", "seeds") for number in range(5)]
RARE = builtin_rare_diseases()
COMMON = builtin_common_diseases()


@dataclass
class Listed:
    """Returns an entity list of the given diseases."""

    diseases: list[Entity]

    def entities(self) -> list[Entity]:
        return self.diseases


GENERATOR = GroundedGenerator(Listed(RARE), num_options=4)


def requests(count, rare_share, entities=RARE, seed=0):
    plan = QuestionPlan(seed, count, rare_share, EntitySampler(entities), SEEDS)
    for slot in range(count):
        yield SynthesisRequest(plan.draw(slot, attempt=0), (), "prompt")


def test_each_request_gets_a_question_whose_truth_is_the_fact():
    values = {
        (entity.name, fact.relation): fact for entity in [*RARE, *COMMON] for fact in entity.facts
    }  # fmt: skip
    for request, draft in GENERATOR.generate(requests(300, 0.5)):
        assert isinstance(draft, Draft)
        fact = values[draft.entity, draft.details["relation"]]
        assert draft.options[draft.truth] == fact.value
        assert draft.details["fact_source"] == fact.source
        assert not set(fact.also_true) & set(draft.options.values())
        assert draft.stem in {stem.format(entity=draft.entity) for stem in relations()[fact.relation].stems}
        assert draft.is_rare == request.draw.is_injected
        if request.draw.entity:
            assert draft.entity == request.draw.entity.name


def test_questions_without_injection_are_about_common_diseases():
    drafts = [draft for _, draft in GENERATOR.generate(requests(300, 0.0))]
    assert {draft.entity for draft in drafts} <= {entity.name for entity in COMMON}
    assert len({draft.entity for draft in drafts}) > len(COMMON) / 2
    assert not any(draft.is_rare for draft in drafts)


def test_over_a_long_run_the_facts_of_an_entity_are_asked_equally_often():
    rounds = 12
    asked = Counter()
    for request, draft in GENERATOR.generate(requests(rounds * len(RARE), 1.0)):
        asked[request.draw.entity.name, draft.details["relation"]] += 1
    for entity in RARE:
        counts = [asked[entity.name, fact.relation] for fact in entity.facts]
        assert sum(counts) == rounds
        assert max(counts) - min(counts) <= 1


def test_the_first_round_asks_for_many_kinds_of_facts():
    drafts = [draft for _, draft in GENERATOR.generate(requests(len(RARE), 1.0))]
    assert len({draft.details["relation"] for draft in drafts}) >= 4


def test_an_entity_without_a_usable_fact_is_rejected():
    bare = [Entity("Bare disease", True), Entity("Lonely disease", True, facts=(Fact("onset", "in childhood", "s"),))]
    generator = GroundedGenerator(Listed(bare), num_options=4)
    outcomes = [outcome for _, outcome in generator.generate(requests(4, 1.0, bare))]
    assert {outcome.reason for outcome in outcomes if isinstance(outcome, Rejection)} == {"no_fact"}
    assert len(outcomes) == 4


def test_facts_with_too_few_distractors_are_passed_over():
    generator = GroundedGenerator(Listed(RARE), num_options=7)  # There are six patterns of inheritance.
    for _, draft in generator.generate(requests(200, 1.0)):
        assert draft.details["relation"] != "inheritance"
        assert len(draft.options) == 7


def test_the_same_requests_give_the_same_questions_in_any_portion():
    whole = list(GENERATOR.generate(requests(50, 0.5)))
    again = GroundedGenerator(Listed(RARE), num_options=4)
    rest = itertools.islice(requests(50, 0.5), 30, None)
    assert list(again.generate(rest)) == whole[30:]


def test_more_options_than_the_tables_can_fill_are_an_error():
    with pytest.raises(InputError, match="fewer options"):
        GroundedGenerator(Listed(RARE), num_options=1_000)


def test_its_questions_pass_the_filters():
    limits = FilterLimits(num_options=4, min_stem_words=3, max_stem_words=100, max_option_words=30, max_copied_words=12)
    for request, draft in GENERATOR.generate(requests(500, 0.5)):
        assert check_draft(draft, request, limits) is None, draft


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
