from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.knowledge.graph import Edge, Evidence, KnowledgeGraph, Node, Profiles
from medssr.knowledge.graph.profiles import LEAST_PROBABILITY, UNKNOWN_FREQUENCY, finding_probability, log_likelihood

# Cataract and glaucoma are eye diseases. The numbers below are worked out by hand from these statements.
NODES = [
    *(Node(name, "disease", f"Disease {name}") for name in "ABCD"),
    *(Node(name, "finding", name) for name in ("eye", "cataract", "glaucoma", "ataxia", "tremor")),
    *(Node(name, "inheritance", name) for name in ("recessive", "dominant")),
]
EDGES = [
    Edge("cataract", "is_a", "eye", "toy"),
    Edge("glaucoma", "is_a", "eye", "toy"),
    Edge("A", "finding", "cataract", "toy", 0.8),
    Edge("A", "finding", "ataxia", "toy", 0.5),
    Edge("A", "inheritance", "recessive", "toy"),
    Edge("B", "finding", "glaucoma", "toy", 0.5),
    Edge("B", "finding", "tremor", "toy", 1.0),
    Edge("B", "inheritance", "dominant", "toy"),
    Edge("C", "finding", "eye", "toy", 0.4),
    Edge("C", "finding", "ataxia", "toy", 0.2),
    Edge("C", "finding", "cataract", "toy", is_excluded=True),
    Edge("D", "finding", "tremor", "toy"),
]
PROFILES = Profiles(KnowledgeGraph(NODES, EDGES, "toy"))


def test_findings_are_counted_with_more_special_ones():
    assert {name: PROFILES.num_with[name] for name in ("eye", "cataract", "glaucoma", "ataxia", "tremor")} == {
        "eye": 3, "cataract": 1, "glaucoma": 1, "ataxia": 2, "tremor": 2
    }  # fmt: skip
    assert PROFILES.information("eye") == pytest.approx(math.log(4 / 3))
    assert PROFILES.general("cataract") == ("eye",)
    assert PROFILES.is_related("eye", "cataract")
    assert not PROFILES.is_related("glaucoma", "cataract")


@pytest.mark.parametrize(
    ("disease", "finding", "expected"),
    [
        ("A", "cataract", 0.8),
        ("A", "eye", 0.8),  # a cataract is an eye disease
        ("A", "glaucoma", 0.8 / 3),  # 0.8 have an eye disease, which is glaucoma in 1 of 3 diseases
        ("B", "cataract", 1 / 4),  # 0.5 / 3 is less than the share of all diseases, 1 of 4
        ("B", "tremor", 1 - LEAST_PROBABILITY),
        ("C", "cataract", LEAST_PROBABILITY),  # excluded
        ("C", "ataxia", 0.2),
        ("D", "tremor", UNKNOWN_FREQUENCY),
        ("D", "ataxia", 2 / 4),
    ],
)
def test_the_probability_of_a_finding_in_a_disease(disease, finding, expected):
    assert PROFILES.probability(disease, finding) == pytest.approx(expected)


def test_a_fit_is_the_log_of_the_product_of_all_probabilities():
    evidence = Evidence(("cataract", "ataxia"), ("tremor",), "recessive")
    assert PROFILES.fit("A", evidence) == pytest.approx(math.log(0.8 * 0.5 * (1 - 2 / 4) * 0.99))
    assert PROFILES.fit("B", evidence) == pytest.approx(math.log(0.25 * 0.5 * 0.001 * 0.01))
    # The inheritance of C is unknown; of the two diseases with a known one, one is recessive.
    assert PROFILES.fit("C", evidence) == pytest.approx(math.log(0.001 * 0.2 * (1 - 2 / 4) * 0.5))


def test_diseases_are_ranked_by_the_information_of_what_they_share():
    order, values = PROFILES.ranked("A")
    assert [PROFILES.ids[number] for number in order] == ["C", "B", "D"]
    eye, ataxia, tremor, single = math.log(4 / 3), math.log(2), math.log(2), math.log(4)
    own = single + eye + ataxia
    with_c = (eye + ataxia) / own  # all that C has
    with_b = eye / (own + (single + eye + tremor) - eye)
    assert values.tolist() == pytest.approx([with_c, with_b, 0.0])


probabilities = st.floats(0.0, 1.0)


@pytest.mark.slow
@given(probabilities, probabilities, st.integers(1, 50), st.integers(0, 50))
def test_a_probability_is_never_sure_and_grows_with_what_is_stated(low, high, num_with, more):
    counts = {"special": num_with, "general": num_with + more, "any": 200}
    low, high = sorted((low, high))
    found = [
        finding_probability("special", ["general", "any"], {"any": 1.0, "general": value}, [], counts)
        for value in (low, high)
    ]
    assert LEAST_PROBABILITY <= found[0] <= found[1] <= 1 - LEAST_PROBABILITY
    assert found[0] >= num_with / 200 - 1e-12


@pytest.mark.slow
@given(st.lists(st.floats(0.001, 0.999), max_size=6), st.lists(st.floats(0.001, 0.999), max_size=6))
def test_further_evidence_never_makes_a_patient_more_likely(present, absent):
    whole = log_likelihood(present, absent)
    assert whole <= log_likelihood(present[1:], absent) + 1e-12
    assert whole <= log_likelihood(present, absent[1:]) + 1e-12
