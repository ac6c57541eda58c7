"""Compares the facts that ship with the package with their sources."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from medssr.knowledge.entities import DISEASE_TYPES, PREVALENCE_IS_RARE
from medssr.knowledge.facts import RESOURCES, builtin_common_diseases, builtin_rare_diseases
from medssr.synthesis.grounded import DistractorPool

PATTERNS = {
    "Autosomal recessive": "autosomal recessive",
    "Autosomal dominant": "autosomal dominant",
    "X-linked recessive": "X-linked",
    "X-linked dominant": "X-linked",
    "Mitochondrial inheritance": "mitochondrial",
}
TABLES = {"rare": builtin_rare_diseases, "common": builtin_common_diseases}


@cache
def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="session")
def orphanet(shared_data) -> dict[str, dict]:
    return {entry["orphacode"]: entry for entry in read(shared_data / "entities" / "orphanet.jsonl")}


@pytest.fixture(scope="session")
def document_ids(shared_data) -> set[str]:
    medquad = shared_data / "medquad"
    files = [medquad / "documents.jsonl", medquad / "retrieval" / "corpus.jsonl"]
    return {document["doc_id"] for file in files for document in read(file)}


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", text.casefold()))


def known_classes(entry: dict) -> list[str]:
    """Returns the known prevalence classes of an entry, the rarest first."""
    return [name for name in PREVALENCE_IS_RARE if name in entry["point_prevalence"]]


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_large_enough_and_has_no_name_twice(name):
    entities = TABLES[name]()
    assert len(entities) >= 60
    assert sum(len(entity.facts) for entity in entities) >= 300
    assert all(entity.facts for entity in entities)
    assert {entity.is_rare for entity in entities} == {name == "rare"}
    names = Counter(entity.name.casefold() for table in TABLES.values() for entity in table())
    assert max(names.values()) == 1


@pytest.mark.parametrize("name", TABLES)
def test_no_value_leaks_the_name_of_its_disease_or_the_other_way_round(name):
    for entity in TABLES[name]():
        for fact in entity.facts:
            assert not words(fact.value) <= words(entity.name), (entity.name, fact)
            assert not words(entity.name) <= words(fact.value), (entity.name, fact)


@pytest.mark.parametrize("name", TABLES)
def test_every_fact_has_three_distractors_that_are_not_true(name):
    pool = DistractorPool([*builtin_rare_diseases(), *builtin_common_diseases()])
    for entity in TABLES[name]():
        for fact in entity.facts:
            distractors = pool.distractors(fact)
            assert len(distractors) >= 3, (entity.name, fact)
            assert not {fact.value, *fact.also_true} & set(distractors)


@pytest.mark.parametrize("relation", ["gene", "inheritance"])
def test_values_are_spelt_one_way(relation):
    values = {fact.value for entity in builtin_rare_diseases() for fact in entity.facts if fact.relation == relation}
    assert len({value.casefold() for value in values}) == len(values)


@pytest.mark.slow
def test_rare_diseases_are_rare_in_orphanet(orphanet):
    for record in read(RESOURCES / "rare_diseases.jsonl"):
        entry = orphanet[record["orphacode"]]
        assert entry["type"] in DISEASE_TYPES, record["name"]
        assert record["name"].casefold() in {name.casefold() for name in [entry["label"], *entry["synonyms"]]}
        classes = known_classes(entry)
        assert classes, record["name"]
        assert all(PREVALENCE_IS_RARE[name] for name in classes), (record["name"], classes)
        assert record["prevalence"] == classes[-1], (record["name"], classes)


def test_common_diseases_are_no_rare_disease_of_orphanet(orphanet):
    rare_names = {
        name.casefold()
        for entry in orphanet.values()
        if entry["type"] in DISEASE_TYPES
        and known_classes(entry)
        and all(PREVALENCE_IS_RARE[name] for name in known_classes(entry))
        for name in [entry["label"], *entry["synonyms"]]
    }
    assert not [entity.name for entity in builtin_common_diseases() if entity.name.casefold() in rare_names]


def test_genes_cause_the_disease_in_orphanet_and_none_of_their_distractors_does(orphanet):
    pool = DistractorPool([*builtin_rare_diseases(), *builtin_common_diseases()])
    for entity in builtin_rare_diseases():
        genes = orphanet[entity.orphacode]["genes"]
        causes = {gene["symbol"] for gene in genes if gene["association"].startswith("Disease-causing")}
        for fact in entity.facts:
            if fact.relation == "gene":
                assert fact.value in causes, (entity.name, fact)
                assert not causes & set(pool.distractors(fact)), (entity.name, fact)


def test_inheritance_is_the_only_pattern_in_orphanet(orphanet):
    for entity in builtin_rare_diseases():
        patterns = {PATTERNS.get(name) for name in orphanet[entity.orphacode]["inheritance"]}
        for fact in entity.facts:
            if fact.relation == "inheritance":
                assert patterns == {fact.value}, (entity.name, fact)


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_sources_exist(name, orphanet, document_ids):
    for entity in TABLES[name]():
        for fact in entity.facts:
            if fact.source.startswith("ORPHA:"):
                assert fact.source == f"ORPHA:{entity.orphacode}", (entity.name, fact)
                assert entity.orphacode in orphanet
            else:
                assert fact.source in document_ids, (entity.name, fact)
