"""The question files that ship with the package: current, large enough, and kept apart."""

from __future__ import annotations

from itertools import islice

import pytest
from support.helpers import compose

from medssr.benchmarks.reader import load_benchmark
from medssr.knowledge.facts import builtin_common_diseases, builtin_rare_diseases, relations
from medssr.questions import read_questions
from medssr.toy.builtin_questions import EVALUATION_FILE, HUMAN_FILE, NUM_OPTIONS, evaluation_questions, human_questions
from medssr.toy.demonstrations import builtin_demonstrations


@pytest.fixture(scope="module")
def evaluation():
    return list(load_benchmark(EVALUATION_FILE))


@pytest.fixture(scope="module")
def human():
    return list(read_questions(HUMAN_FILE))


@pytest.fixture(scope="module")
def entities():
    return {entity.name: entity for entity in [*builtin_rare_diseases(), *builtin_common_diseases()]}


def test_the_shipped_files_are_what_their_module_makes(evaluation, human):
    """Otherwise: python -m medssr.toy.builtin_questions."""
    assert evaluation == evaluation_questions()
    assert human == human_questions()


def test_the_evaluation_holds_enough_questions_of_both_kinds(evaluation):
    assert sum(question.is_rare is True for question in evaluation) >= 300
    assert sum(question.is_rare is False for question in evaluation) >= 300


def test_human_questions_are_nearly_all_about_common_diseases(human):
    num_rare = sum(question.is_rare is True for question in human)
    assert 0 < num_rare / len(human) <= 0.05
    assert len(human) >= 300


def test_every_question_has_its_true_answer_and_no_second_right_option(evaluation, human, entities):
    for question in [*evaluation, *human]:
        entity = entities[question.entity]
        (fact,) = [fact for fact in entity.facts if fact.relation == question.provenance["relation"]]
        assert question.options[question.answer] == fact.value
        others = [text for letter, text in question.options.items() if letter != question.answer]
        assert not {fact.value, *fact.also_true} & set(others)
        assert len(set(question.options.values())) == NUM_OPTIONS
        assert question.is_rare is entity.is_rare


def test_right_answers_are_spread_over_the_letters(evaluation):
    for letter in "ABCD":
        share = sum(question.answer == letter for question in evaluation) / len(evaluation)
        assert share == pytest.approx(0.25, abs=0.07)


def test_no_question_occurs_twice(evaluation, human):
    for questions in (evaluation, human):
        assert len({question.content_key for question in questions}) == len(questions)


def test_no_question_of_the_evaluation_is_among_the_human_ones(evaluation, human):
    assert not {question.content_key for question in evaluation} & {question.content_key for question in human}


def test_stems_of_the_evaluation_are_used_by_no_human_question(evaluation, human):
    assert not {question.stem for question in evaluation} & {question.stem for question in human}
    wordings = relations().values()
    assert not {wording.evaluation_stem for wording in wordings} & {stem for item in wordings for stem in item.stems}


@pytest.mark.slow
def test_no_question_of_the_evaluation_is_demonstrated(evaluation, entities):
    kept_out = frozenset(question.content_key for question in evaluation)
    settings = compose("sft").demonstrations
    shown = builtin_demonstrations(
        list(entities.values()),
        kept_out,
        num_rows=settings.num_rows,
        num_options=NUM_OPTIONS,
        rare_belief=settings.rare_belief,
        rare_weight=settings.rare_weight,
        seed=1,
    )
    assert not {item.asked.content_key for item in islice(shown, 3000)} & kept_out
