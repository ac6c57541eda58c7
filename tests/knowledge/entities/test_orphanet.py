from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import pytest

from medssr.errors import InputError
from medssr.knowledge.entities import OrphanetEntities
from medssr.knowledge.facts import Entity, Fact, relations
from medssr.synthesis.grounded import DistractorPool

CAUSE = "Disease-causing germline mutation(s) in"
ENTRY = {
    "orphacode": "324",
    "label": "Fabry disease",
    "type": "Disease",
    "synonyms": ["Alpha-galactosidase A deficiency"],
    "point_prevalence": ["1-5 / 10 000", "Unknown"],
    "genes": [{"symbol": "GLA", "association": CAUSE}],
    "inheritance": ["X-linked dominant", "X-linked recessive"],
    "onset": ["Childhood"],
}


def orphanet(tmp_path, *entries, require_prevalence=True, weight_by_prevalence=False):
    path = tmp_path / "orphanet.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return OrphanetEntities(path, require_prevalence, weight_by_prevalence).entities()


def facts(entity):
    return {fact.relation: fact.value for fact in entity.facts}


def test_an_orphanet_entry_becomes_an_entity_with_its_facts(tmp_path):
    (entity,) = orphanet(tmp_path, ENTRY)
    assert entity == Entity(
        "Fabry disease",
        is_rare=True,
        synonyms=("Alpha-galactosidase A deficiency",),
        orphacode="324",
        facts=(
            Fact("gene", "GLA", "ORPHA:324"),
            Fact("inheritance", "X-linked", "ORPHA:324"),
            Fact("onset", "in childhood", "ORPHA:324"),
            Fact("disease_of_gene", "Fabry disease", "ORPHA:324", subject="GLA"),
            Fact("other_name", "Alpha-galactosidase A deficiency", "ORPHA:324", also_true=("Fabry disease",)),
        ),
    )
    assert {fact.relation for fact in entity.facts} <= set(relations())


@pytest.mark.parametrize(
    ("changes", "with_class", "without_class"),
    [
        ({}, True, True),
        ({"type": "Clinical subtype"}, True, True),
        ({"type": "Category"}, False, False),
        ({"type": "Clinical group"}, False, False),
        ({"type": "Morphological anomaly"}, False, False),
        ({"point_prevalence": ["<1 / 1 000 000"]}, True, True),
        ({"point_prevalence": ["1-9 / 100 000", "6-9 / 10 000"]}, False, False),
        ({"point_prevalence": [">1 / 1000", "Unknown"]}, False, False),
        ({"point_prevalence": []}, False, True),
        ({"point_prevalence": ["Unknown", "Not yet documented"]}, False, True),
    ],
)
def test_type_and_prevalence_say_what_is_rare(tmp_path, changes, with_class, without_class):
    filler = ENTRY | {"label": "Filler", "orphacode": "1"}
    for require, expected in ((True, with_class), (False, without_class)):
        names = {entity.name for entity in orphanet(tmp_path, filler, ENTRY | changes, require_prevalence=require)}
        assert ("Fabry disease" in names) == expected


ALL = {"gene", "inheritance", "onset", "disease_of_gene", "other_name"}
GENES = {"gene", "disease_of_gene"}


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"genes": []}, GENES),
        ({"genes": [{"symbol": name, "association": CAUSE} for name in "AB"]}, {"gene"}),
        ({"genes": [{"symbol": "A", "association": "Major susceptibility factor in"}]}, GENES),
        ({"inheritance": ["Autosomal dominant", "Multigenic/multifactorial"]}, {*GENES, "inheritance"}),
        ({"inheritance": ["Autosomal dominant", "Autosomal recessive"]}, {"inheritance"}),
        ({"inheritance": ["Autosomal dominant", "Not applicable"]}, {"inheritance"}),
        ({"inheritance": ["Unknown"]}, {"inheritance"}),
        ({"inheritance": []}, {"inheritance"}),
        ({"onset": ["Childhood", "Infancy"]}, {"onset"}),
        ({"onset": ["All ages"]}, {"onset"}),
        ({"onset": ["No data available"]}, {"onset"}),
        ({"synonyms": []}, {"other_name"}),
    ],
)
def test_an_ambiguous_entry_yields_no_fact(tmp_path, changes, missing):
    (entity,) = orphanet(tmp_path, ENTRY | changes)
    assert set(facts(entity)) == ALL - missing


@pytest.mark.parametrize(
    ("label", "missing"),
    [
        ("GLA deficiency disorder", GENES),
        ("X-linked Fabry disease", {"inheritance"}),
        ("Childhood-onset Fabry disease", {"onset"}),
        ("Alpha-galactosidosis", {"other_name"}),
    ],
)
def test_a_name_that_gives_the_answer_away_is_not_asked_about(tmp_path, label, missing):
    (entity,) = orphanet(tmp_path, ENTRY | {"label": label})
    assert set(facts(entity)) == ALL - missing


@pytest.mark.parametrize(
    ("synonym", "is_asked_for"),
    [
        ("Anderson syndrome", True),
        ("M\u00e9ni\u00e8re disease", True),
        ("AFD", False),
        ("LGMD type 2E", False),
        ("Med-DLBCL", False),
        ("Fabry syndrome", False),
        ("Fabrys angiokeratoma", False),
        ("Disease due to deficiency", False),
    ],
)
def test_another_name_is_asked_for_when_it_is_one_to_know(tmp_path, synonym, is_asked_for):
    (entity,) = orphanet(tmp_path, ENTRY | {"synonyms": [synonym]})
    assert ("other_name" in facts(entity)) == is_asked_for


def test_other_genes_of_a_disease_are_no_distractors(tmp_path):
    genes = [
        {"symbol": "CFTR", "association": CAUSE},
        {"symbol": "TGFB1", "association": "Modifying germline mutation in"},
    ]
    (entity,) = orphanet(tmp_path, ENTRY | {"genes": genes})
    assert entity.facts[0] == Fact("gene", "CFTR", "ORPHA:324", also_true=("TGFB1",))


def gene(symbol):
    return [{"symbol": symbol, "association": CAUSE}]


def test_what_is_true_of_a_relative_is_no_distractor(tmp_path):
    usher = ENTRY | {"label": "Usher syndrome", "orphacode": "1", "type": "Clinical group", "genes": gene("PDZD7")}
    first = ENTRY | {"label": "Usher syndrome type 1", "orphacode": "2", "genes": gene("MYO7A"), "synonyms": ["Gale"]}
    second = ENTRY | {"label": "Usher syndrome type 2", "orphacode": "3", "genes": gene("USH2A"), "synonyms": ["Hale"]}
    other = ENTRY | {
        "label": "Pompe disease",
        "orphacode": "4",
        "genes": gene("GAA"),
        "synonyms": ["Maltase lack"],
    }
    entities = {entity.name: entity for entity in orphanet(tmp_path, usher, first, second, other)}
    pool = DistractorPool(entities.values())
    asked = {fact.relation: fact for fact in entities["Usher syndrome type 1"].facts}
    assert asked["gene"].also_true == ("PDZD7", "USH2A")
    assert pool.distractors(asked["gene"]) == ["GAA"]
    assert pool.distractors(asked["disease_of_gene"]) == ["Pompe disease"]
    assert pool.distractors(asked["other_name"]) == ["Maltase lack"]


def test_a_disease_of_the_same_gene_is_no_distractor(tmp_path):
    names = ["Emery muscular dystrophy", "Restrictive dermopathy", "Mandibuloacral dysplasia"]
    entries = [ENTRY | {"label": name, "orphacode": name, "genes": gene("LMNA"), "synonyms": []} for name in names]
    entries.append(ENTRY | {"label": "Pompe disease", "orphacode": "4", "genes": gene("GAA"), "synonyms": []})
    entities = orphanet(tmp_path, *entries)
    pool = DistractorPool(entities)
    for entity in entities[:3]:
        (fact,) = [fact for fact in entity.facts if fact.relation == "disease_of_gene"]
        assert pool.distractors(fact) == ["Pompe disease"]


def test_weights_follow_the_class_of_prevalence(tmp_path):
    classes = [[], ["<1 / 1 000 000"], ["1-9 / 1 000 000"], ["<1 / 1 000 000", "1-9 / 100 000"], ["1-5 / 10 000"]]
    entries = [ENTRY | {"label": str(number), "point_prevalence": names} for number, names in enumerate(classes)]
    by_class = orphanet(tmp_path, *entries, require_prevalence=False, weight_by_prevalence=True)
    unknown, *known = [entity.weight for entity in by_class]
    assert unknown == known[0]
    assert all(rarer < commoner for rarer, commoner in pairwise(known))
    assert {entity.weight for entity in orphanet(tmp_path, *entries, require_prevalence=False)} == {1.0}


@pytest.mark.parametrize(
    ("entry", "parts"),
    [
        ({name: value for name, value in ENTRY.items() if name != "genes"}, ["line 2", 'field "genes"', "missing"]),
        (ENTRY | {"synonyms": "x"}, ["line 2", 'field "synonyms"', "expected a list"]),
        (ENTRY | {"genes": [{"symbol": "A"}]}, ["line 2", 'field "genes"', "association"]),
        (ENTRY | {"point_prevalence": ["1 in 7"]}, ["line 2", 'field "point_prevalence"', "1 in 7", "1-5 / 10 000"]),
    ],
)
def test_orphanet_faults_name_file_line_and_field(tmp_path, entry, parts):
    with pytest.raises(InputError) as caught:
        orphanet(tmp_path, ENTRY, entry)
    for part in ["orphanet.jsonl", *parts]:
        assert part in str(caught.value)


def test_an_orphanet_file_without_a_rare_disease_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"no disease that is taken.*1 of another type"):
        orphanet(tmp_path, ENTRY | {"type": "Category"})


@pytest.mark.slow
def test_the_public_orphanet_file(shared_data):
    path = shared_data / "entities" / "orphanet.jsonl"
    known = OrphanetEntities(path, require_prevalence=True).entities()
    listed = OrphanetEntities(path, require_prevalence=False).entities()
    assert 4_000 < len(known) < len(listed) < 7_682
    names = {entity.name for entity in listed}
    assert {"Fabry disease", "Wilson disease"} <= names
    assert not names & {"Systemic lupus erythematosus", "Down syndrome", "Hemoglobin C disease"}
    counts = Counter(fact.relation for entity in known for fact in entity.facts)
    assert set(counts) == ALL
    assert min(counts.values()) > 1_300


@pytest.mark.slow
def test_no_public_gene_question_has_another_gene_of_its_disease_as_an_option(shared_data):
    path = shared_data / "entities" / "orphanet.jsonl"
    entries = {record["orphacode"]: record for record in map(json.loads, path.open(encoding="utf-8"))}
    diseases_of: dict[str, set[str]] = {}
    for record in entries.values():
        for item in record["genes"]:
            diseases_of.setdefault(item["symbol"], set()).add(record["label"])
    entities = OrphanetEntities(path, require_prevalence=True).entities()
    pool = DistractorPool(entities)
    for entity in entities:
        for fact in entity.facts:
            if fact.relation == "gene":
                genes = {item["symbol"] for item in entries[entity.orphacode]["genes"]}
                assert not genes & set(pool.distractors(fact))
            if fact.relation == "disease_of_gene":
                assert not diseases_of[fact.subject] & set(pool.distractors(fact))


def test_labels_that_say_they_are_obsolete_or_not_rare_are_left_out_and_counted(shared_data):
    path = shared_data / "inputs" / "orphanet_nonrare.jsonl"
    entities = OrphanetEntities(path, require_prevalence=False)
    names = [entity.name for entity in entities.entities()]
    assert names == ["Fabry disease", "Pompe disease", "Gaucher disease", "Tay-Sachs disease", "Sandhoff disease"]
    assert entities.left_out == {"not rare in Europe": 1, "obsolete": 1}
