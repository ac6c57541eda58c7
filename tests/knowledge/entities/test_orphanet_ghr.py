from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from medssr.knowledge.entities import OrphanetDisease, OrphanetGhrEntities, merge_ghr
from medssr.knowledge.facts import Entity, Fact
from medssr.knowledge.ghr import GhrPage
from medssr.synthesis.grounded import DistractorPool

GENE = Fact("gene", "GLA", "ORPHA:324")
REVERSE = Fact("disease_of_gene", "Fabry disease", "ORPHA:324", subject="GLA")
INHERITANCE = Fact("inheritance", "X-linked", "ORPHA:324")
ONSET = Fact("onset", "in childhood", "ORPHA:324")
FABRY = OrphanetDisease(
    Entity("Fabry disease", True, ("Anderson angiokeratoma",), "324", (GENE, INHERITANCE, ONSET, REVERSE)),
    frozenset({"GLA"}),
    frozenset({"GLA"}),
    frozenset({"X-linked recessive"}),
)
POMPE = OrphanetDisease(
    Entity("Pompe disease", True, orphacode="365"), frozenset({"GAA"}), frozenset({"GAA"}), frozenset()
)


def ghr(relation, value):
    return Fact(relation, value, f"GHR_{relation}")


def page(*facts, name="Fabry disease", synonyms=(), genes=(), patterns=()):
    return GhrPage(name, synonyms, facts, frozenset(genes), frozenset(patterns))


def merged(*pages, disease=FABRY):
    entities, counts = merge_ghr([disease, POMPE], pages)
    return entities[0].facts, counts


def without(disease, relation, **changes):
    facts = tuple(fact for fact in disease.entity.facts if fact.relation != relation)
    return replace(disease, entity=replace(disease.entity, facts=facts), **changes)


def test_facts_on_which_both_agree_keep_their_source():
    facts, counts = merged(page(ghr("gene", "GLA"), ghr("inheritance", "X-linked")))
    assert facts == FABRY.entity.facts
    assert (counts.num_pages, counts.num_joined, counts.num_agreeing) == (1, 1, {"gene": 1, "inheritance": 1})


def test_a_gene_on_which_they_differ_is_dropped_in_both_directions():
    facts, counts = merged(page(ghr("gene", "GAA"), ghr("protein", "maltase")))
    assert facts == (INHERITANCE, ONSET)
    assert counts.num_conflicts == {"gene": 1}


def test_a_pattern_on_which_they_differ_is_dropped():
    facts, counts = merged(page(ghr("inheritance", "autosomal recessive")))
    assert facts == (GENE, ONSET, REVERSE)
    assert counts.num_conflicts == {"inheritance": 1}


def test_what_a_page_names_besides_is_no_distractor():
    facts, _ = merged(page(genes=["GLA", "GLB"], patterns=["X-linked", "mitochondrial"]))
    assert facts[:2] == (replace(GENE, also_true=("GLB",)), replace(INHERITANCE, also_true=("mitochondrial",)))


@pytest.mark.parametrize("inheritance", [[], ["Unknown"], ["No data available"]])
def test_a_pattern_is_added_where_orphanet_has_none(inheritance):
    disease = without(FABRY, "inheritance", inheritance=frozenset(inheritance))
    facts, counts = merged(page(ghr("inheritance", "X-linked")), disease=disease)
    assert facts[-1] == ghr("inheritance", "X-linked")
    assert counts.num_added == {"inheritance": 1}


def test_no_pattern_is_added_where_orphanet_has_several():
    disease = without(FABRY, "inheritance", inheritance=frozenset({"Autosomal dominant", "X-linked dominant"}))
    assert merged(page(ghr("inheritance", "X-linked")), disease=disease)[0] == disease.entity.facts


def test_a_gene_is_added_where_orphanet_has_none_and_knows_its_symbol():
    disease = without(FABRY, "gene", genes=frozenset(), related_genes=frozenset({"GLB"}))
    assert merged(page(ghr("gene", "GAA")), disease=disease)[0][-1] == replace(ghr("gene", "GAA"), also_true=("GLB",))
    assert merged(page(ghr("gene", "OLD1")), disease=disease)[0] == disease.entity.facts
    several = without(FABRY, "gene", genes=frozenset({"GLA", "GLB"}))
    assert merged(page(ghr("gene", "GAA")), disease=several)[0] == several.entity.facts


def test_a_protein_is_added_where_both_name_its_gene_and_the_disease_does_not_tell_it():
    protein = ghr("protein", "alpha-galactosidase A")
    assert merged(page(ghr("gene", "GLA"), protein))[0][-1] == protein
    assert merged(page(protein))[0] == FABRY.entity.facts
    assert merged(page(ghr("gene", "GLA"), ghr("protein", "Fabry protein")))[0] == FABRY.entity.facts


def test_alike_proteins_are_no_distractors_of_each_other():
    proteins = {"Fabry disease": "keratin 5", "Pompe disease": "keratin", "Danon disease": "titin"}
    genes = {name: Fact("gene", f"G{number}", "s") for number, name in enumerate(proteins)}
    diseases = [
        OrphanetDisease(
            Entity(name, True, facts=(gene,)), frozenset({gene.value}), frozenset({gene.value}), frozenset()
        )
        for name, gene in genes.items()
    ]
    pages = [
        page(ghr("gene", genes[name].value), ghr("protein", protein), name=name) for name, protein in proteins.items()
    ]
    entities, _ = merge_ghr(diseases, pages)
    pool = DistractorPool(entities)
    distractors = [pool.distractors(entity.facts[-1]) for entity in entities]
    assert distractors == [["titin"], ["titin"], ["keratin", "keratin 5"]]


def test_pages_are_joined_by_normalised_names_and_synonyms():
    conflict = ghr("inheritance", "mitochondrial")
    assert merged(page(conflict, name="FABRY'S  DISEASE"))[1].num_joined == 1
    assert merged(page(conflict, name="other", synonyms=("anderson-angiokeratoma",)))[1].num_joined == 1
    assert merged(page(conflict, name="other", synonyms=("AFD",)))[1].num_joined == 0


def test_what_cannot_be_joined_for_sure_is_left_out_and_counted():
    twice = [page(ghr("inheritance", "mitochondrial")), page(ghr("inheritance", "mitochondrial"), name="Fabry Disease")]
    facts, counts = merged(*twice)
    assert facts == FABRY.entity.facts
    assert (counts.num_pages, counts.num_joined, counts.num_ambiguous) == (2, 0, 2)
    both = replace(POMPE, entity=replace(POMPE.entity, name="Fabry disease"))
    entities, counts = merge_ghr([FABRY, both], [twice[0]])
    assert entities == [FABRY.entity, both.entity]
    assert (counts.num_joined, counts.num_ambiguous) == (0, 1)


def test_short_synonyms_join_nothing():
    disease = replace(FABRY, entity=replace(FABRY.entity, synonyms=("AFD",)))
    assert merged(page(name="other", synonyms=("AFD",)), disease=disease)[1].num_joined == 0


@pytest.mark.slow
def test_the_public_files_give_thousands_of_questions(shared_data):
    entities = OrphanetGhrEntities(
        shared_data / "entities" / "orphanet.jsonl", shared_data / "medquad" / "documents.jsonl", True, False
    ).entities()
    assert all(entity.is_rare for entity in entities)
    facts = [(entity, fact) for entity in entities for fact in entity.facts]
    counts = Counter(fact.relation for _, fact in facts)
    assert set(counts) == {"gene", "disease_of_gene", "inheritance", "onset", "other_name", "protein"}
    assert len({(fact.relation, fact.subject or entity.name) for entity, fact in facts}) > 9_000
    assert any(fact.source.startswith("GHR_") for _, fact in facts)
    pool = DistractorPool(entities)
    lacking = [fact for _, fact in facts if not pool.has_distractors(fact, 3)]
    assert not lacking
