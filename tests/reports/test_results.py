from support.helpers import toy_question

from medssr.evaluation.scoring import RARE_ASKED, RARE_NEVER_ASKED
from medssr.reports.results import asked_facts, fact_slices


def about(number, entity, relation, is_rare=True):
    provenance = {} if relation is None else {"relation": relation}
    return toy_question(number, entity=entity, is_rare=is_rare, provenance=provenance)


TRAINING = [
    about(0, "Fabry disease", "gene"),
    about(1, "Fabry disease", "gene"),
    about(2, "asthma", "organ", is_rare=False),
    about(3, "Gaucher disease", None),
    about(4, None, "gene"),
]


def test_facts_are_pairs_of_disease_and_relation():
    assert asked_facts(TRAINING) == {("Fabry disease", "gene"), ("asthma", "organ")}
    assert asked_facts([]) == set()


def test_rare_questions_are_split_by_whether_training_asked_for_their_fact():
    evaluation = [
        about(10, "Fabry disease", "gene"),
        about(11, "Fabry disease", "organ"),  # the disease was asked about, this fact was not
        about(12, "Gaucher disease", "gene"),
        about(13, "asthma", "organ", is_rare=False),
        about(14, "Fabry disease", None),
        about(15, "Fabry disease", "gene", is_rare=None),
    ]
    assert fact_slices(evaluation, asked_facts(TRAINING)) == {RARE_ASKED: {"q10"}, RARE_NEVER_ASKED: {"q11", "q12"}}


def test_a_slice_without_questions_is_left_out():
    assert fact_slices([about(10, "Fabry disease", "gene")], set()) == {RARE_NEVER_ASKED: {"q10"}}
    assert fact_slices([about(10, "asthma", "organ", is_rare=False)], set()) == {}
    assert fact_slices([], {("Fabry disease", "gene")}) == {}
