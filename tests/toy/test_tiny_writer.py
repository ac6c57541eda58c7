"""The tiny writer that ships with the package: what it takes from passages that it has never seen, and from memory."""

from __future__ import annotations

import random
from contextlib import closing
from dataclasses import replace

import pytest
from support.helpers import typed

from medssr.knowledge.corpora.builtin import statement_passage
from medssr.knowledge.facts import Entity, builtin_common_diseases, builtin_rare_diseases, relations
from medssr.knowledge.retrieval import Hit
from medssr.questions import Question
from medssr.synthesis.generators import Draft
from medssr.synthesis.plan import Draw, SynthesisRequest
from medssr.synthesis.prompts import build_synthesis_prompt, load_template
from medssr.toy.builtin_questions import human_questions
from medssr.utils.instantiate import instantiate

pytestmark = pytest.mark.slow

NUM_REQUESTS = 100
RARE = builtin_rare_diseases()
ENTITIES = [*RARE, *builtin_common_diseases()]
VALUES = {
    relation: sorted({fact.value for entity in ENTITIES for fact in entity.facts if fact.relation == relation})
    for relation in relations()
}


def retold(entity: Entity, rng: random.Random) -> Entity:
    """The disease with other values, which no table has together."""
    facts = (replace(fact, value=rng.choice(VALUES[fact.relation])) for fact in entity.facts)
    return replace(entity, facts=tuple(facts))


@pytest.fixture
def write(tmp_path):
    """Returns the outcomes of requests for the diseases, each with the diseases whose passages the prompt holds."""

    def outcomes(cases: list[tuple[Entity | None, list[Entity]]]) -> list:
        config = typed("synthesize", "generator=tiny_writer", f"generator.ledger_dir={tmp_path}")
        template = load_template(config.synthesis.prompt_path)
        seeds: tuple[Question, Question] = tuple(human_questions()[:2])
        requests = []
        for slot, (entity, shown) in enumerate(cases):
            hits = tuple(Hit(statement_passage(one), 1.0) for one in shown)
            prompt = build_synthesis_prompt(template, seeds, entity, hits, config.synthesis.num_options)
            draw = Draw(slot, 0, 0.5, entity is not None, entity, 0, seeds, rng_seed=slot)
            requests.append(SynthesisRequest(draw, hits, prompt))
        with closing(instantiate(config.generator, "generator")) as generator:
            return [outcome for _, outcome in generator.generate(requests)]

    return outcomes


def holds_fact(outcome, entity: Entity) -> bool:
    """Whether the question asks for a fact of the disease as it is given here, and has its value among the options."""
    return isinstance(outcome, Draft) and any(
        outcome.stem in [stem.format(entity=entity.name) for stem in relations()[fact.relation].stems]
        and fact.value in outcome.options.values()
        for fact in entity.facts
    )


def share(outcomes, entities) -> float:
    return sum(map(holds_fact, outcomes, entities)) / len(outcomes)


def test_it_reads_passages_whose_values_no_table_has(write):
    rng = random.Random(1)
    entities = [retold(rng.choice(RARE), rng) for _ in range(NUM_REQUESTS)]
    assert share(write([(entity, [entity]) for entity in entities]), entities) > 0.9


def test_from_the_name_alone_it_knows_less_than_from_the_passage(write):
    entities = (RARE * 2)[:NUM_REQUESTS]
    from_passages = share(write([(entity, [entity]) for entity in entities]), entities)
    from_memory = share(write([(entity, []) for entity in entities]), entities)
    assert from_passages > 0.9
    assert 0.1 < from_memory < 0.5


def test_nearly_every_reply_is_a_question(write):
    outcomes = write([(None, [])] * NUM_REQUESTS)
    drafts = [outcome for outcome in outcomes if isinstance(outcome, Draft)]
    assert len(drafts) >= 0.95 * NUM_REQUESTS
    assert len({draft.stem for draft in drafts}) > 0.7 * NUM_REQUESTS
    assert all(len(draft.options) == 4 for draft in drafts)
