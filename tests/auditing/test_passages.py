from __future__ import annotations

import pytest
from support.helpers import toy_question

from medssr.auditing.passages import look_up_passages
from medssr.errors import InputError
from medssr.knowledge.corpora import Passage

PASSAGES = [Passage(f"p{n}", "title", f"text {n}") for n in range(5)]


def test_passages_are_found_in_the_order_of_the_provenance():
    questions = [toy_question(0, provenance={"passages": ["p3", "p1"]}), toy_question(1)]
    assert look_up_passages(questions, PASSAGES) == {"q0": [PASSAGES[3], PASSAGES[1]], "q1": []}


def test_the_corpus_is_read_no_further_than_needed():
    corpus = iter(PASSAGES)
    look_up_passages([toy_question(0, provenance={"passages": ["p1"]})], corpus)
    assert next(corpus).id == "p2"
    assert look_up_passages([toy_question(0)], corpus) == {"q0": []}
    assert next(corpus).id == "p3"


def test_a_passage_that_is_not_there_is_an_error_that_names_it():
    with pytest.raises(InputError, match=r'passage "p9" of question "q0" .* ~corpus'):
        look_up_passages([toy_question(0, provenance={"passages": ["p1", "p9"]})], PASSAGES)
