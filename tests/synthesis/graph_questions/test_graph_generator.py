from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medssr.config import Split
from medssr.errors import InputError
from medssr.knowledge.entities import BuiltinEntities, EntitySampler, in_split
from medssr.knowledge.facts import Entity
from medssr.knowledge.graph import Edge, Evidence, KnowledgeGraph, Node, Profiles
from medssr.questions import Question
from medssr.synthesis.filters import FilterLimits, check_draft
from medssr.synthesis.generators import Draft, Rejection
from medssr.synthesis.graph_questions import GraphGenerator
from medssr.synthesis.graph_questions.distractors import Difficulty, World, choose_contrast, choose_diseases
from medssr.synthesis.graph_questions.patients import Patient, draw_patient, tellable
from medssr.synthesis.plan import QuestionPlan, SynthesisRequest

SEEDS = [Question(f"q{number}", "Which organ?", {"A": "liver", "B": "heart"}, "A", "seeds") for number in range(5)]
LIMITS = FilterLimits(4, 3, 300, 60, 12)
SETTINGS = {
    "num_options": 4,
    "kinds": ["diagnosis", "gene", "contrast"],
    "min_findings": 3,
    "max_findings": 6,
    "max_absent": 2,
    "distractor_similarity": 1.0,
    "min_odds": 10.0,
    "held_out_share": 0.2,
    "split": "train",
}


def generator(entities=None, **changes):
    return GraphGenerator(entities or BuiltinEntities(), **SETTINGS | changes)


GENERATOR = generator()


def drafts(made, count, rare_share=1.0, seed=0, split="train"):
    entities = in_split(BuiltinEntities().entities(), 0.2, Split(split))
    plan = QuestionPlan(seed, count, rare_share, EntitySampler(entities), SEEDS)
    requests = (SynthesisRequest(plan.draw(slot, 0), (), "prompt") for slot in range(count))
    return [(request, outcome) for request, outcome in made.generate(requests) if isinstance(outcome, Draft)]


DRAFTS = drafts(GENERATOR, 300)


def test_every_kind_is_asked_and_the_same_seed_asks_the_same():
    kinds = Counter(draft.details["question_kind"] for _, draft in DRAFTS)
    assert set(kinds) == {"diagnosis", "gene", "contrast"}
    assert [draft for _, draft in drafts(generator(), 40)] == [draft for _, draft in drafts(GENERATOR, 40)]
    assert [draft for _, draft in drafts(GENERATOR, 40, seed=1)] != [draft for _, draft in drafts(GENERATOR, 40)]


def test_the_truth_follows_from_the_edges_that_the_provenance_names():
    profiles = Profiles(GENERATOR._rare.profiles.graph)
    nodes = profiles.graph.nodes
    stated = {(edge.head, edge.relation, edge.tail) for edge in profiles.graph.edges}
    for _, draft in DRAFTS:
        details = draft.details
        assert draft.truth is not None
        answer = draft.options[draft.truth]
        edges = [tuple(edge[:3]) for edge in details["edges"]]
        assert set(edges) <= stated
        assert all(head == details["disease"] for head, _, _ in edges)
        findings = [tail for _, relation, tail in edges if relation == "finding"]
        if details["question_kind"] == "diagnosis":
            assert answer == nodes[details["disease"]].name
            assert 3 <= len(findings) <= 6
        elif details["question_kind"] == "gene":
            assert (details["disease"], "gene", f"gene:{answer}") in edges
            assert nodes[details["disease"]].name not in draft.stem
        else:
            assert nodes[findings[0]].name == answer
            assert nodes[details["second"]].name in draft.stem
        assert set(draft.options.values()) == {answer, *(nodes[value].name for value in details["wrong"])}


def test_no_wrong_diagnosis_fits_the_vignette_nearly_as_well():
    profiles = GENERATOR._rare.profiles
    for _, draft in DRAFTS:
        details = draft.details
        if details["question_kind"] != "diagnosis":
            continue
        edges = details["edges"]
        findings = tuple(tail for _, relation, tail, _ in edges if relation == "finding")
        inheritance = next((tail for _, relation, tail, _ in edges if relation == "inheritance"), None)
        evidence = Evidence(findings, tuple(details["absent"]), inheritance)
        own = profiles.fit(details["disease"], evidence)
        best = max(profiles.fit(other, evidence) for other in details["wrong"])
        assert own - best >= math.log(10)
        assert details["odds"] == pytest.approx(math.exp(own - best), rel=0.01)


def test_every_draft_passes_the_filters_without_naming_its_disease():
    for request, draft in DRAFTS:
        rejection = check_draft(draft, request, LIMITS)
        assert rejection is None, (rejection, draft)
    gene = next(draft for _, draft in DRAFTS if draft.details["question_kind"] == "gene")
    assert check_draft(replace(gene, truth=None), DRAFTS[0][0], LIMITS).reason == "entity_absent"


def test_held_out_diseases_are_asked_about_by_their_split_alone():
    benchmark = drafts(generator(split="held_out"), 100, split="held_out")
    train, held_out = (
        {draft.details["disease"] for draft in made}
        | {value for draft in made for value in draft.details["wrong"] if value.startswith("ORPHA:")}
        for made in ([draft for _, draft in DRAFTS], [draft for _, draft in benchmark])
    )
    assert len(held_out) >= 5
    assert not train & held_out


def test_questions_without_injection_are_about_common_diseases():
    made = drafts(GENERATOR, 100, rare_share=0.0)
    assert len(made) > 80
    assert not any(draft.is_rare for _, draft in made)
    assert all(draft.is_rare for _, draft in DRAFTS)


def test_similar_distractors_share_more():
    def mean(similarity):
        """Returns the mean similarity of the diseases that are looked at first for one distractor."""
        world = GENERATOR._rare
        values = []
        for disease in sorted(world.members):
            order, found = world.profiles.ranked(disease)
            similarity_of = {world.profiles.ids[number]: value for number, value in zip(order, found, strict=True)}
            values += [similarity_of[other] for other in next(world.similar(disease, similarity, 1))]
        return sum(values) / len(values)

    assert mean(1.0) > mean(0.5) > mean(0.0) > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"kinds": ["diagnose"]},
            r"generator\.kinds: found \['diagnose'\]; expected some of diagnosis, gene, contrast",
        ),
        ({"kinds": []}, r"generator\.kinds"),
        ({"min_findings": 4, "max_findings": 3}, r"generator\.min_findings"),
        ({"max_absent": -1}, r"generator\.max_absent"),
        ({"distractor_similarity": 1.5}, r"generator\.distractor_similarity"),
        ({"min_odds": 0.5}, r"generator\.min_odds"),
    ],
)
def test_settings_are_checked(change, message):
    with pytest.raises(InputError, match=message):
        generator(**change)


class Listed:
    def __init__(self, diseases):
        self.diseases = diseases

    def entities(self):
        return self.diseases


def test_a_list_without_findings_says_what_to_take():
    names = Listed([Entity(f"Disease {number}", True) for number in range(10)])
    with pytest.raises(InputError, match=r"0 of \d+ diseases have a finding .* entities=hpo"):
        generator(names, held_out_share=0.0)


def test_a_disease_with_one_finding_is_rejected_with_a_reason():
    lone = replace(BuiltinEntities().entities()[0], name="Lone disease", orphacode="99999", facts=())
    made = generator(Listed([*BuiltinEntities().entities(), lone]), held_out_share=0.0)
    plan = QuestionPlan(0, 1, 1.0, EntitySampler([lone]), SEEDS)
    ((_, outcome),) = made.generate([SynthesisRequest(plan.draw(0, 0), (), "prompt")])
    assert isinstance(outcome, Rejection)
    assert (outcome.reason, outcome.detail) == ("no_finding", "Lone disease has no finding in the graph.")


# --- A toy world: cataract implies eye disease; sexes, ages and names exclude findings -------------------------------

DISEASES = {
    "A": "Ataxia-deafness syndrome",
    "B": "Bear disease",
    "C": "Cat disease",
    "D": "Dog disease",
    "E": "Elk disease",
}
OF_A = ("eye disease", "cataract", "ataxia", "cryptorchidism", "ovarian cyst", "dementia", "ptosis")
FINDINGS = (*OF_A, "goiter", "rash", "fever")
NODES = [
    *(Node(name, "disease", text) for name, text in DISEASES.items()),
    *(Node(f"f:{name}", "finding", name) for name in FINDINGS),
    Node("age:Infancy", "age", "Infancy"),
]


def edge(disease, finding, frequency=0.9):
    return Edge(disease, "finding", f"f:{finding}", "toy", frequency)


EDGES = [
    Edge("f:cataract", "is_a", "f:eye disease", "toy"),
    *(edge("A", name) for name in OF_A),
    Edge("A", "onset", "age:Infancy", "toy"),
    Edge("A", "death", "age:Infancy", "toy"),
    *(edge("B", name) for name in ("cataract", "ptosis", "goiter")),
    *(edge(name, "ptosis", 0.02) for name in "CDE"),
    *(edge(name, "rash") for name in "CDE"),
    Edge("B", "finding", "f:rash", "toy", is_excluded=True),
    Edge("B", "finding", "f:fever", "toy", is_excluded=True),
]
TOY = Profiles(KnowledgeGraph(NODES, EDGES, "toy"))


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_a_patient_has_what_goes_together(seed):
    patient = draw_patient(TOY, "A", tellable(TOY, "A"), 3, random.Random(seed))
    assert patient is not None
    findings = {found.tail for found in patient.edges}
    assert "f:ataxia" not in findings  # the name of the disease has it
    assert "f:dementia" not in findings  # patients do not reach the age
    assert not {"f:eye disease", "f:cataract"} <= findings
    assert not {"f:cryptorchidism", "f:ovarian cyst"} <= findings
    assert patient.sex != "female" or "f:cryptorchidism" not in findings
    assert patient.sex != "male" or "f:ovarian cyst" not in findings
    assert patient.sex in ("male", "female")
    assert patient.years is not None
    assert 28 / 365 <= patient.years <= 2.0
    assert draw_patient(TOY, "A", tellable(TOY, "A"), 4, random.Random(seed)) is None


def test_a_disease_does_not_begin_after_the_age_that_patients_reach():
    nodes = [*NODES, Node("age:Adult", "age", "Adult")]
    profiles = Profiles(KnowledgeGraph(nodes, [*EDGES, Edge("A", "onset", "age:Adult", "toy")], "toy"))
    patients = [draw_patient(profiles, "A", tellable(profiles, "A"), 3, random.Random(seed)) for seed in range(20)]
    assert {patient.onset for patient in patients if patient} == {"age:Infancy"}


def test_where_the_inheritance_is_x_linked_the_sex_is_told_by_findings_alone():
    nodes = [*NODES, Node("inheritance:X-linked", "inheritance", "X-linked")]
    edges = [*EDGES, Edge("A", "inheritance", "inheritance:X-linked", "toy")]
    profiles = Profiles(KnowledgeGraph(nodes, edges, "toy"))
    patients = [draw_patient(profiles, "A", tellable(profiles, "A"), 2, random.Random(seed)) for seed in range(60)]
    expected = {"f:cryptorchidism": "male", "f:ovarian cyst": "female"}
    for patient in patients:
        needed = {expected[edge.tail] for edge in patient.edges if edge.tail in expected}
        assert {patient.sex} == (needed or {None})
    assert {patient.sex for patient in patients} == {"male", "female", None}


def test_findings_are_drawn_by_their_frequency():
    edges = [replace(found, frequency=0.05 if found.tail == "f:cataract" else 0.9) for found in tellable(TOY, "B")]
    counts = Counter(
        found.tail for seed in range(400) for found in draw_patient(TOY, "B", edges, 1, random.Random(seed)).edges
    )
    # 0.05 of 0.05 + 0.9 + 0.9, hence 10.8 of 400.
    assert 2 <= counts["f:cataract"] <= 25
    assert counts["f:ptosis"] > 100


def test_distractors_must_fit_worse_by_the_odds():
    """Of five diseases all have ptosis, two have a cataract; a patient has both.

    B: 0.9 * 0.9 = 0.81. C, D, E: 0.02 for ptosis, 2 / 5 for a cataract, 0.008: B is 101.25 times as likely.
    A is as likely as B, and never an option.
    """
    patient = Patient("B", (edge("B", "cataract"), edge("B", "ptosis")), None, None, None, None)
    world = World(TOY, DISEASES.values())
    difficulty = Difficulty(2, 2, 0, 1.0, 100.0)
    choice = choose_diseases(world, patient, 3, difficulty, random.Random(0))
    assert choice is not None
    assert set(choice.values) == {"C", "D", "E"}
    assert choice.odds == pytest.approx(101.25)
    assert choose_diseases(world, patient, 4, difficulty, random.Random(0)) is None
    assert choose_diseases(world, patient, 3, replace(difficulty, min_odds=102.0), random.Random(0)) is None


def test_an_absent_finding_is_one_that_another_disease_has():
    """B excludes rash, which C, D and E have, and fever, which no disease has."""
    patient = Patient("B", (edge("B", "cataract"),), None, None, None, None)
    world = World(TOY, DISEASES.values())
    found = {
        choice.absent
        for seed in range(20)
        if (choice := choose_diseases(world, patient, 3, Difficulty(1, 1, 1, 1.0, 2.0), random.Random(seed)))
    }
    assert found == {(), ("f:rash",)}


def test_kinds_of_one_disease_and_diseases_of_one_gene_are_not_told_apart():
    names = {"1": "Dyskinesia, primary, 6", "2": "Dyskinesia, X-linked", "3": "Usher syndrome", "4": "Bear disease"}
    nodes = [*(Node(*item) for item in ((key, "disease", name) for key, name in names.items()))]
    nodes += [Node("f:cough", "finding", "cough"), Node("gene:G", "gene", "G")]
    edges = [Edge(key, "finding", "f:cough", "toy") for key in names]
    edges += [Edge(key, "gene", "gene:G", "toy") for key in "14"]
    world = World(Profiles(KnowledgeGraph(nodes, edges, "toy")), names.values())
    assert [other for group in world.similar("1", 1.0, 3) for other in group] == ["3"]


def test_a_contrast_asks_for_a_finding_that_the_other_has_not():
    world = GENERATOR._rare
    profiles, num_contrasts = world.profiles, 0
    for seed, disease in enumerate(sorted(world.members)):
        contrast = choose_contrast(world, disease, 3, GENERATOR._difficulty, random.Random(seed))
        if contrast is None:
            continue
        num_contrasts += 1
        truth = contrast.truth.tail
        ratio = {
            finding: profiles.probability(disease, finding) / profiles.probability(contrast.second, finding)
            for finding in (truth, *contrast.wrong)
        }
        best = max(ratio[finding] for finding in contrast.wrong)
        assert best <= 1.0
        assert ratio[truth] >= 10 * max(best, 1.0)
        assert not profiles.has(contrast.second, truth)
        assert all(profiles.has(contrast.second, finding) for finding in contrast.wrong)
        assert contrast.odds == pytest.approx(ratio[truth] / best)
    assert num_contrasts > 0
