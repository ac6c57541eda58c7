"""Tests walks against a small graph by hand, and the enumeration of paths against a slow search."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.helpers import completion, toy_question

from medssr.answers import Choice
from medssr.knowledge.graph.walks import NamedEdge, NamedGraph, WalkStep, WalkTask, correct_rests, read_walk
from medssr.rewards.walk_end import WalkEnd

# Fabry disease and Alport syndrome share an organ, Gout shares none with them.
EDGES = [
    NamedEdge("Fabry disease", "organ", "kidney"),
    NamedEdge("Alport syndrome", "organ", "kidney"),
    NamedEdge("Alport syndrome", "test", "biopsy"),
    NamedEdge("Fabry disease", "finding", "pain"),
    NamedEdge("Gout", "finding", "pain"),
]
TASK = WalkTask("Fabry disease", "test", "biopsy", NamedGraph(EDGES), 3)
RIGHT = "organ: kidney\norgan of: Alport syndrome\ntest: biopsy\n"


@pytest.mark.parametrize(
    ("text", "end", "num_steps", "is_whole"),
    [
        (f"{RIGHT}The answer is B.", "biopsy", 3, True),
        (f"\n  {RIGHT}", "biopsy", 3, True),
        ("organ: kidney", "kidney", 1, True),
        ("organ: kidney\ntest: biopsy", "kidney", 1, False),  # no such edge
        ("organ of: kidney", "Fabry disease", 0, False),  # the wrong direction
        (f"{RIGHT}test of: Alport syndrome", "biopsy", 3, False),  # too many steps
        ("The answer is B.", "Fabry disease", 0, False),
        ("", "Fabry disease", 0, False),
    ],
)
def test_a_walk_is_followed_until_a_step_that_the_graph_does_not_have(text, end, num_steps, is_whole):
    walk = read_walk(text, TASK)
    assert (walk.end, len(walk.steps), walk.is_whole) == (end, num_steps, is_whole)


@pytest.mark.parametrize(
    ("text", "is_truncated", "reward"),
    [
        (f"{RIGHT}The answer is B.", False, 1.0),  # where the walk ends counts, and not the letter
        ("finding: pain\nfinding of: Gout\nThe answer is A.", False, 0.0),
        ("organ: kidney\ntest: biopsy\nThe answer is A.", False, 0.0),  # no such edge
        (f"{RIGHT}test of: Alport syndrome", False, 0.0),  # at the answer after three steps, but it went on
        (RIGHT, True, 0.0),
        ("", False, 0.0),
    ],
)
def test_the_reward_is_for_a_walk_in_the_graph_that_ends_at_the_answer(text, is_truncated, reward):
    question = toy_question(answer="A", provenance={"walk": TASK.record()})
    walked = completion(text=text, is_truncated=is_truncated)
    assert WalkEnd(1.0)(question, walked, Choice("A", "answer_phrase")) == reward


def test_a_question_that_is_no_walk_has_no_such_reward():
    with pytest.raises(ValueError, match="walk"):
        WalkEnd(1.0)(toy_question(), completion(text=RIGHT), Choice("A", "answer_phrase"))


def test_the_correct_ways_to_go_on_by_hand():
    kidney, alport = WalkStep("organ", "kidney"), WalkStep("organ of", "Alport syndrome")
    biopsy, pain = WalkStep("test", "biopsy"), WalkStep("finding", "pain")
    assert correct_rests(TASK, []) == [(kidney, alport, biopsy)]
    assert correct_rests(TASK, [kidney]) == [(alport, biopsy)]
    assert correct_rests(TASK, [kidney, alport, biopsy]) == [()]
    # Off the correct paths, the step back; without a step left, none; at the start, none.
    assert correct_rests(TASK, [pain]) == [(WalkStep("finding of", "Fabry disease"),)]
    assert correct_rests(TASK, [pain, WalkStep("finding of", "Gout"), WalkStep("finding", "pain")]) == []
    assert correct_rests(WalkTask("Gout", "test", "biopsy", NamedGraph(EDGES), 3), []) == []


def test_a_task_is_the_same_after_json_and_a_record_of_something_else_is_refused():
    assert WalkTask.from_record(TASK.record()).record() == TASK.record()
    for record in ({}, {"edges": [["a", "b"]]}, TASK.record() | {"edges": None}):
        with pytest.raises(ValueError, match="no walk"):
            WalkTask.from_record(record)


names = st.sampled_from("abcd")


@settings(max_examples=40)
@given(st.lists(st.tuples(names, st.sampled_from("rs"), names), max_size=6), names, names, st.integers(0, 3))
def test_paths_are_those_of_a_search_over_all_sequences_of_steps(edges, start, end, num_steps):
    graph = NamedGraph(NamedEdge(*edge) for edge in edges)
    both = [WalkStep(relation, tail) for _, relation, tail in edges]
    both += [WalkStep(f"{relation} of", head) for head, relation, _ in edges]
    expected = set()
    for length in range(num_steps + 1):
        for path in itertools.product(set(both), repeat=length):
            visited = [start, *(step.name for step in path)]
            follows = all(step in graph.steps(here) for here, step in zip(visited, path, strict=False))
            if follows and visited[-1] == end and len(set(visited)) == len(visited):
                expected.add(path)
    paths = graph.paths(start, end, num_steps)
    assert set(paths) == expected
    assert [len(path) for path in paths] == sorted(len(path) for path in paths)
