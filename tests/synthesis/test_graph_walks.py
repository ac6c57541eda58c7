"""Tests that queries mask the edge that they ask for, and that what is shown does not depend on the answer."""

from __future__ import annotations

import pytest

from medssr.errors import InputError
from medssr.knowledge.facts import builtin_common_diseases, builtin_rare_diseases
from medssr.knowledge.graph import graph_from_facts
from medssr.knowledge.graph.walks import NamedEdge, WalkTask
from medssr.questions import LETTERS
from medssr.synthesis.graph_walks import Exploration, rarity_of, split_edges, write_queries

ENTITIES = [*builtin_rare_diseases()[:12], *builtin_common_diseases()[:12]]
GRAPH = graph_from_facts(ENTITIES)
EXPLORATION = Exploration(num_walks=6, max_steps=3)


def queries(edges, seed=1, number=1000):
    walked, trained, held_out = split_edges(GRAPH, 0.2)
    walks_shown = [*trained, *held_out]
    return write_queries(edges, walked, walks_shown, rarity_of(GRAPH, ENTITIES), EXPLORATION, number, seed)


def test_the_split_is_by_edge_and_no_walk_uses_a_held_out_edge():
    walked, trained, held_out = split_edges(GRAPH, 0.2)
    assert not set(walked) & set(held_out)
    assert 0.1 < len(held_out) / (len(trained) + len(held_out)) < 0.3
    written = queries(held_out)
    assert len(written.questions) + written.num_unreached == len(held_out)
    assert len(written.questions) > 10
    for question in written.questions:
        assert set(WalkTask.from_record(question.provenance["walk"]).graph.edges) <= set(walked)


@pytest.mark.slow
def test_a_query_can_be_walked_without_its_own_edge_and_no_other_true_answer_is_an_option():
    _, trained, held_out = split_edges(GRAPH, 0.2)
    written = queries(trained[:150])
    assert len(written.questions) > 10
    for question in written.questions:
        task = WalkTask.from_record(question.provenance["walk"])
        assert NamedEdge(task.head, task.relation, task.tail) not in task.graph.edges
        assert task.graph.paths(task.head, task.tail, 3)
        assert question.options[question.answer] == task.tail
        true = {edge.tail for edge in [*trained, *held_out] if edge[:2] == (task.head, task.relation)}
        assert true & set(question.options.values()) == {task.tail}
        for end in question.options.values():
            assert any(path[-1].relation == task.relation for path in task.graph.paths(task.head, end, 3))
        assert question.is_rare is next(each.is_rare for each in ENTITIES if each.name == question.entity)


@pytest.mark.slow
def test_questions_depend_on_the_seed_and_stop_at_their_number():
    _, trained, _ = split_edges(GRAPH, 0.2)
    assert queries(trained, number=5) == queries(trained, number=5)
    assert queries(trained, number=5).questions != queries(trained, seed=2, number=5).questions
    assert len(queries(trained, number=5).questions) == 5
    assert {question.answer for question in queries(trained, number=30).questions} >= set(LETTERS[:3])


@pytest.mark.parametrize(
    ("numbers", "message"), [((1, 3), "num_walks: 1"), ((27, 3), "2 to 26"), ((4, 0), "max_steps")]
)
def test_numbers_out_of_range_are_refused(numbers, message):
    with pytest.raises(InputError, match=message):
        Exploration(*numbers)
