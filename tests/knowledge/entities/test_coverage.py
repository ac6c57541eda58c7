from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from medssr.knowledge.corpora import MedQuadCorpus, Passage
from medssr.knowledge.entities import EntityCoverage, OrphanetEntities, entity_coverage
from medssr.knowledge.facts import Entity

ENTITIES = [
    Entity("Fabry disease", True, ("Anderson disease",)),
    Entity("Alström syndrome", True),
    Entity("Pompe disease", True, ("Acid maltase deficiency",)),
    Entity("Danon disease", True),
]


def passage(title, synonyms=()):
    return Passage("id", title, "text", synonyms=synonyms)


def test_passages_are_joined_by_names_of_either_side():
    passages = [
        passage("FABRY'S DISEASE"),
        passage("Anderson disease"),
        passage("Fabry disease -- Treatment -- Enzymes"),
        passage("Alstrm syndrome"),
        passage("Glycogen storage disease 2", ("acid-maltase deficiency", "Pompe disease")),
        passage("Fabry disease in children"),
    ]
    assert entity_coverage(ENTITIES, iter(passages)) == EntityCoverage(
        num_entities=4,
        num_covered=3,
        num_passages=6,
        num_joined_passages=5,
        median_passages=1,
        passages_by_entity={"Fabry disease": 3, "Alström syndrome": 1, "Pompe disease": 1},
        without=("Danon disease",),
    )


def test_a_name_that_two_diseases_share_counts_for_both():
    entities = [Entity("A", True, ("Shared name",)), Entity("B", True, ("Shared name",))]
    assert entity_coverage(entities, [passage("shared name")]).passages_by_entity == {"A": 1, "B": 1}


def test_nothing_is_covered_by_nothing():
    coverage = entity_coverage(ENTITIES, [])
    assert (coverage.num_covered, coverage.num_passages, coverage.median_passages) == (0, 0, 0)
    assert coverage.without == tuple(entity.name for entity in ENTITIES)
    assert json.loads(json.dumps(asdict(coverage)))["num_entities"] == 4


def test_examples_of_what_is_lacking_are_few():
    entities = [Entity(f"disease {number}", True) for number in range(100)]
    assert len(entity_coverage(entities, []).without) == 20


@pytest.mark.slow
def test_the_public_answers_know_a_part_of_orphanet(shared_data):
    entities = OrphanetEntities(shared_data / "entities" / "orphanet.jsonl", True).entities()
    corpus = MedQuadCorpus(shared_data / "medquad" / "documents.jsonl", 1000, None)
    coverage = entity_coverage(entities, corpus.passages())
    assert coverage.num_passages == corpus.counts.num_passages
    assert 1_200 < coverage.num_covered < coverage.num_entities == len(entities)
    assert coverage.passages_by_entity["Fabry disease"] >= 5
