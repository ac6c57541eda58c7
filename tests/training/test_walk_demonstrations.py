"""Tests the labels of the states that walks visit, and how a demonstration with a given beginning is encoded."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.helpers import toy_question

from medssr.engines.sampled_answers import SampledAnswer, answers_in_chunks
from medssr.errors import InputError
from medssr.knowledge.graph.walks import NamedEdge, NamedGraph, WalkTask
from medssr.questions import write_questions
from medssr.training.demonstrations import Demonstration, encode_demonstrations
from medssr.training.walk_demonstrations import WalkDemonstrations
from medssr.utils.progress import Progress

EDGES = [NamedEdge("a", "r", "b"), NamedEdge("c", "r", "b"), NamedEdge("c", "s", "d"), NamedEdge("a", "q", "e")]
TASK = WalkTask("a", "s", "d", NamedGraph(EDGES), 3)
QUESTION = replace(toy_question(0, answer="B", provenance={"walk": TASK.record()}), options={"A": "e", "B": "d"})


def draw(folder, texts, question=QUESTION):
    write_questions(folder / "walks.jsonl", [question])
    answers = [SampledAnswer(text, 3, False, None, "none") for text in texts]
    progress = Progress("walks", None, "walks")
    made = answers_in_chunks([question], folder / "answers", 1, progress, lambda _: (pair for pair in [(0, answers)]))
    assert len(list(made)) == 1
    return WalkDemonstrations(folder / "walks.jsonl", folder / "answers").draw(seed=1)


def test_each_visited_state_counts_once_and_has_a_correct_way_to_go_on(tmp_path):
    texts = ["nonsense", "r: b\nr: a", "r: b\nr of: c\ns: d\nThe answer is A.", "q: e\nq of: a"]
    drawn = draw(tmp_path, texts)
    assert [(each.prefix, each.completion, each.is_open) for each in drawn] == [
        ("", "r: b\nr of: c\ns: d\nThe answer is B.", False),
        ("r: b\n", "r of: c\ns: d\nThe answer is B.", False),
        ("r: b\nr of: c\n", "s: d\nThe answer is B.", False),
        ("r: b\nr of: c\ns: d\n", "The answer is B.", False),
        ("q: e\n", "q of: a\n", True),
        # Back at the start, one step is left, which leads nowhere: the correct step is back again.
        ("q: e\nq of: a\n", "q: e\n", True),
    ]


def test_a_question_that_is_no_walk_is_named(tmp_path):
    with pytest.raises(InputError, match='question "q0": the field "walk" of its provenance is no walk'):
        draw(tmp_path, ["r: b"], toy_question(0))


def test_the_given_beginning_belongs_to_the_prompt_and_an_open_end_is_not_imitated(random_policies):
    policy = random_policies["qwen3"]
    whole = Demonstration(QUESTION, "r: b\nr of: c\n")
    parts = Demonstration(QUESTION, "r of: c\n", "r: b\n", is_open=True)
    (prompt, completion), (longer, rest) = encode_demonstrations(policy, [whole, parts], None, "file").samples
    assert longer[: len(prompt)] == prompt
    assert policy.tokenizer.decode(longer[len(prompt) :]) == "r: b\n"
    assert policy.tokenizer.decode(rest) == "r of: c\n"
    assert policy.tokenizer.decode(completion[:-1]) == "r: b\nr of: c\n"
    assert encode_demonstrations(policy, [whole, parts], 500, "file").samples == [(prompt, completion), (longer, rest)]
