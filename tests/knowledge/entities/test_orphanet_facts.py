from __future__ import annotations

import pytest

from medssr.knowledge.entities.orphanet_facts import Relatives, family_of


def relatives(*labels, synonyms=None):
    records = [
        {"label": label, "synonyms": (synonyms or {}).get(label, []), "genes": [{"symbol": f"G{number}"}]}
        for number, label in enumerate(labels)
    ]
    relatives = Relatives(records)
    return [set(relatives.genes(number)) for number in range(len(labels))]


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("usher syndrome type 1", "usher syndrome"),
        ("usher syndrome 2a", "usher syndrome"),
        ("autosomal dominant charcot marie tooth disease type 2i", "charcot marie tooth disease"),
        ("x linked alport syndrome", "alport syndrome"),
        ("glycogen storage disease due to acid maltase deficiency", "glycogen storage disease"),
        ("fabry disease", "fabry disease"),
        ("type 1", "type 1"),
    ],
)
def test_the_family_is_what_kinds_of_a_disease_share(name, family):
    assert family_of(name) == family


@pytest.mark.parametrize(
    "other",
    ["Usher syndrome type 2", "Usher syndrome", "Autosomal recessive Usher syndrome", "Usher's syndrome with deafness"],
)
def test_kinds_of_a_disease_are_related_both_ways(other):
    assert relatives("Usher syndrome type 1", other, "Fabry disease") == [{"G0", "G1"}, {"G0", "G1"}, {"G2"}]


def test_a_common_synonym_relates():
    assert relatives("Fabry disease", "Pompe disease", synonyms={"Fabry disease": ["Pompe Disease"]})[0] == {"G0", "G1"}


def test_a_word_that_very_many_names_share_does_not_relate():
    labels = [f"Syndrome with sign number {number}" for number in range(120)]
    assert relatives(*labels)[0] == {"G0"}


def test_names_and_genes_of_relatives():
    records = [
        {"label": "Usher syndrome type 1", "synonyms": ["A"], "genes": [{"symbol": "X"}]},
        {"label": "Usher syndrome type 2", "synonyms": ["B"], "genes": []},
        {"label": "Fabry disease", "synonyms": [], "genes": [{"symbol": "X"}]},
        {"label": "Pompe disease", "synonyms": [], "genes": []},
    ]
    relatives = Relatives(records)
    assert relatives.names(1) == {"Usher syndrome type 1", "A", "Usher syndrome type 2", "B"}
    assert relatives.names_with_gene("X") == {"Usher syndrome type 1", "Usher syndrome type 2", "Fabry disease"}
    assert relatives.names_with_gene("Y") == frozenset()
