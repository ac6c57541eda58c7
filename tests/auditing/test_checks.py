"""Tests the automatic checks on questions by hand, and on questions of the generators, which are right."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from medssr.auditing.checks import Problem, check_question
from medssr.auditing.known_answers import AnswerKey
from medssr.knowledge.facts import Entity, Fact, builtin_common_diseases, builtin_rare_diseases, relations
from medssr.knowledge.graph import graph_from_facts
from medssr.questions import Question
from medssr.synthesis.grounded import DistractorPool, write_fact_question

ENTITIES = [
    Entity("Fabry disease", True, facts=(
        Fact("gene", "GLA", "s"), Fact("organ", "kidney", "s", ("skin",)), Fact("finding", "tingling", "s", ("fever",)),
        Fact("inheritance", "X-linked", "s"), Fact("disease_of_gene", "Fabry disease", "s", subject="GLA"),
    )),
    Entity("Alport syndrome", True, facts=(
        Fact("gene", "COL4A5", "s"), Fact("organ", "ears", "s"), Fact("finding", "fever", "s", ("hearing loss",)),
    )),
    Entity("Gout", False, facts=(
        Fact("organ", "joints", "s"), Fact("finding", "swollen big toe", "s"), Fact("gene", "ABCG2", "s"),
    )),
]  # fmt: skip
KEY = AnswerKey(ENTITIES, graph_from_facts(ENTITIES))
ORGANS = {"A": "ears", "B": "kidney", "C": "joints"}
DISEASES = {"A": "Gout", "B": "Fabry disease", "C": "Alport syndrome"}
FABRY = "Which organ or tissue does Fabry disease mainly affect?"
VIGNETTE = "A patient presents with {}. {}What is the most likely diagnosis?"


def problems(stem, options, answer, key=KEY):
    return set(check_question(Question("q", stem, options, answer, "toy"), key).problems)


@pytest.mark.parametrize(
    ("stem", "options", "answer", "expected"),
    [
        (FABRY, ORGANS, "B", set()),
        (FABRY, ORGANS, "A", {Problem.wrong_answer}),
        ("Which organ or tissue does Gout mainly affect?", ORGANS, "B", {Problem.wrong_answer}),
        (FABRY, ORGANS | {"B": "eyes"}, "B", {Problem.no_right_option}),
        (FABRY, ORGANS | {"A": "skin"}, "B", {Problem.several_right_options}),
        # Not of a known wording: read by the disease and by what the options are.
        ("Fabry disease harms which part of the body?", ORGANS, "B", set()),
        ("Fabry disease harms which part of the body?", ORGANS, "C", {Problem.wrong_answer}),
        # Findings of both diseases speak for neither.
        ("Fabry disease and Alport syndrome are both considered in a patient. Which finding would favor Fabry disease?",
         {"A": "fever", "B": "tingling", "C": "hearing loss"}, "B", set()),
        ("Fabry disease and Alport syndrome are both considered in a patient. Which finding would favor Fabry disease?",
         {"A": "fever", "B": "swollen big toe", "C": "hearing loss"}, "A", {Problem.no_right_option}),
        (VIGNETTE.format("tingling and fever", ""), DISEASES, "B", set()),
        (VIGNETTE.format("tingling", "There is no evidence of hearing loss. "), DISEASES, "C", {Problem.wrong_answer}),
        (VIGNETTE.format("fever", ""), DISEASES, "B", {Problem.several_right_options}),
        (VIGNETTE.format("tingling and swollen big toe", ""), DISEASES, "B", {Problem.no_right_option}),
        ("What is the most likely diagnosis?", DISEASES, "B", {Problem.tells_nothing}),
        ("A patient presents with tingling. Which gene is most likely altered in this patient?",
         {"A": "GLA", "B": "COL4A5", "C": "ABCG2"}, "B", {Problem.wrong_answer}),
    ],
)  # fmt: skip
def test_an_answer_is_checked_against_facts_and_graph(stem, options, answer, expected):
    assert problems(stem, options, answer) == expected


@pytest.mark.parametrize(
    ("stem", "options", "expected"),
    [
        ("Which organ is it?", {"A": "ears", "B": "The Ears"}, Problem.repeated_option),
        ("Which organ is it?", {"A": "ears", "B": "None of the above"}, Problem.refers_to_options),
        ("According to the passage, which organ is it?", ORGANS, Problem.missing_passage),
        ("Which organ does the text above mention?", ORGANS, Problem.missing_passage),
        ("Which organ is shown in the figure?", ORGANS, Problem.missing_figure),
        ("Which organ is it? Answer: B", ORGANS, Problem.leaked_answer),
        ("Which or\ufffdan is it?", ORGANS, Problem.garbled),
        ("A patient is ill", ORGANS, Problem.asks_nothing),
        ("Which organ does Fabry", ORGANS, Problem.cut_off),
        ("A patient is ill. Which organ is", ORGANS, Problem.cut_off),
        ("Mutations of which gene cause Fabry", ORGANS, Problem.cut_off),
    ],
)
def test_faults_of_the_text_are_found_without_facts(stem, options, expected):
    assert problems(stem, options, None, key=None) == {expected}


def test_a_stem_that_an_option_completes_is_not_cut_off():
    assert problems("In a patient who has Fabry disease, the organ is", ORGANS, None, key=None) == set()


def test_what_facts_cannot_answer_is_said():
    checked = check_question(Question("q", "Which vaccine is live?", {"A": "BCG", "B": "HPV"}, "A", "toy"), KEY)
    assert (checked.problems, checked.is_answer_checked) == ((), False)
    assert check_question(Question("q", "Which?", ORGANS, "A", "toy"), None).is_answer_checked is False


def test_the_answer_is_the_label_and_else_the_hidden_truth():
    question = Question("q", "Which organ or tissue does Gout mainly affect?", ORGANS, None, "toy")
    hidden = replace(question, provenance={"truth": "A"})
    assert check_question(question, KEY).problems == ()
    assert check_question(hidden, KEY).problems == (Problem.wrong_answer,)
    assert check_question(replace(hidden, answer="C"), KEY).problems == ()


@pytest.mark.slow
def test_questions_for_built_in_facts_pass_and_fail_with_any_other_answer():
    entities = [*builtin_rare_diseases()[:15], *builtin_common_diseases()[:15]]
    key, pool, rng = AnswerKey(entities, graph_from_facts(entities)), DistractorPool(entities), random.Random(0)
    num_checked = 0
    for entity in entities:
        for fact in entity.facts:
            drafted = write_fact_question(entity, fact, pool, relations()[fact.relation].stems, 4, rng)
            if drafted is None:
                continue
            question = Question("q", drafted.stem, drafted.options, drafted.truth, "toy")
            checked = check_question(question, key)
            assert (checked.problems, checked.is_answer_checked) == ((), True), checked
            other = next(letter for letter in question.options if letter != drafted.truth)
            assert check_question(replace(question, answer=other), key).problems == (Problem.wrong_answer,)
            num_checked += 1
    assert num_checked > 60
