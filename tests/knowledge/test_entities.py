from __future__ import annotations

import json
from collections import Counter

import pytest

from medssr.errors import InputError
from medssr.knowledge.entities import BuiltinEntities, EntitySampler, ListEntities, OrphanetEntities
from medssr.knowledge.facts import Entity, Fact, builtin_rare_diseases, relations

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


def orphanet(tmp_path, *entries, require_prevalence=True):
    path = tmp_path / "orphanet.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return OrphanetEntities(path, require_prevalence).entities()


def facts(entity):
    return {fact.relation: fact.value for fact in entity.facts}


def test_builtin_entities_are_the_rare_table():
    entities = BuiltinEntities().entities()
    assert entities == builtin_rare_diseases()
    assert all(entity.is_rare for entity in entities)


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


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"genes": []}, {"inheritance", "onset"}),
        ({"genes": [{"symbol": name, "association": CAUSE} for name in "AB"]}, {"inheritance", "onset"}),
        ({"genes": [{"symbol": "A", "association": "Major susceptibility factor in"}]}, {"inheritance", "onset"}),
        ({"inheritance": ["Autosomal dominant", "Autosomal recessive"]}, {"gene", "onset"}),
        ({"inheritance": ["Autosomal dominant", "Not applicable"]}, {"gene", "onset"}),
        ({"inheritance": ["Unknown"]}, {"gene", "onset"}),
        ({"inheritance": []}, {"gene", "onset"}),
        ({"onset": ["Childhood", "Infancy"]}, {"gene", "inheritance"}),
        ({"onset": ["All ages"]}, {"gene", "inheritance"}),
        ({"onset": ["No data available"]}, {"gene", "inheritance"}),
    ],
)
def test_an_ambiguous_entry_yields_no_fact(tmp_path, changes, expected):
    (entity,) = orphanet(tmp_path, ENTRY | changes)
    assert set(facts(entity)) == expected


def test_other_genes_of_a_disease_are_no_distractors(tmp_path):
    genes = [
        {"symbol": "CFTR", "association": CAUSE},
        {"symbol": "TGFB1", "association": "Modifying germline mutation in"},
    ]
    (entity,) = orphanet(tmp_path, ENTRY | {"genes": genes})
    assert entity.facts[0] == Fact("gene", "CFTR", "ORPHA:324", also_true=("TGFB1",))


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
    with pytest.raises(InputError, match="no rare disease"):
        orphanet(tmp_path, ENTRY | {"type": "Category"})


def test_the_public_orphanet_file(shared_data):
    path = shared_data / "entities" / "orphanet.jsonl"
    known = OrphanetEntities(path, require_prevalence=True).entities()
    listed = OrphanetEntities(path, require_prevalence=False).entities()
    assert 4_000 < len(known) < len(listed) < 7_682
    names = {entity.name for entity in listed}
    assert {"Fabry disease", "Wilson disease"} <= names
    assert not names & {"Systemic lupus erythematosus", "Down syndrome", "Hemoglobin C disease"}
    assert Counter(fact.relation for entity in known for fact in entity.facts)["gene"] > 2_000


def test_list_entities_reads_one_name_a_line(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("\ufeffFabry disease\n\n  Behçet disease \n", encoding="utf-8")
    assert ListEntities(path).entities() == [Entity("Fabry disease", True), Entity("Behçet disease", True)]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "holds no name"),
        (b"\n \n", "holds no name"),
        (b"Fabry\nGaucher\nfabry\n", 'line 3: "fabry" is on line 1 already'),
        (b"Beh\xe7et", "not UTF-8"),
    ],
)
def test_list_faults_are_named(tmp_path, content, part):
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        ListEntities(path).entities()
    assert str(path) in str(caught.value)
    assert part in str(caught.value)


def test_an_absent_list_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        ListEntities(tmp_path / "none.txt").entities()


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
