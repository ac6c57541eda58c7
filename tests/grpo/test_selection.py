"""Which questions of a step are trained: by hand, against a slow version of TraPO's rules, and in a training step."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.grpo_runs import fit, make_module, metrics, part_of
from support.helpers import LetterEngine, grpo_config, toy_question
from torch.optim import SGD

from medssr.errors import InputError
from medssr.grpo.selection import (
    Candidate,
    TrajectoryForm,
    TrajectorySelection,
    chosen_indices,
    trajectory_similarities,
)
from medssr.grpo.visits import Visits
from medssr.rewards.history import QuestionHistory, Visit
from medssr.rewards.label_match import LabelMatch
from medssr.rewards.votes import MajorityVote

TRAPO = {
    "form": "mean",
    "num_warmup_visits": 0,
    "top_share": 0.0,
    "threshold": 0.9,
    "adds_selected": False,
    "is_random": False,
    "seed": 3,
}


def visit(rate, is_labelled=False, is_trained=True):
    return Visit(0, {}, 8, None, rate, is_labelled, is_trained)


def history_of(**rows):
    """A history of questions by id: their visits."""
    history = QuestionHistory("s")
    for name, visits in rows.items():
        for step, item in enumerate(visits):
            history.add([(name, replace(item, step=step))])
    return history


def test_similarities_by_hand():
    rising, falling, still = [0.2, 0.4, 0.6], [0.6, 0.4, 0.2], [1.0, 1.0, 1.0]
    # Against the mean (0.4, 0.4, 0.4) of rising and falling: 1.2 / (sqrt(0.56) sqrt(3)) for both, 1 for the third.
    queries, references = [rising, falling, still], [rising, falling]
    expected = [1.2 / math.sqrt(0.56 * 3)] * 2 + [1.0]
    assert trajectory_similarities(queries, references, TrajectoryForm.mean) == pytest.approx(expected)
    # The correlations with rising and falling cancel; one that never moves has none with anything.
    assert trajectory_similarities(queries, references, TrajectoryForm.each) == pytest.approx([0, 0, 0])
    assert trajectory_similarities(queries, [rising], TrajectoryForm.each) == pytest.approx([1, -1, 0])
    assert trajectory_similarities([[0.0, 0.0]], [rising], TrajectoryForm.mean) == [0.0]
    # All are cut to the shortest: one visit has no correlation.
    assert trajectory_similarities([[0.3], rising], [falling], TrajectoryForm.each) == [0, 0]
    assert trajectory_similarities([[0.1], [0.3, 1.0]], [[0.3, 0.0]], TrajectoryForm.mean) == pytest.approx([1, 1])


def slow_similarity(query, references, form):
    """The slow version: number by number."""
    length = min(len(row) for row in [query, *references])
    query, references = query[:length], [row[:length] for row in references]

    def cosine(one, other):
        product = sum(a * b for a, b in zip(one, other, strict=True))
        lengths = math.sqrt(sum(a * a for a in one)) * math.sqrt(sum(b * b for b in other))
        return product / lengths if lengths > 1e-9 else 0.0

    def centred(row):
        mean = sum(row) / len(row)
        return [value - mean for value in row]

    if form is TrajectoryForm.mean:
        return cosine(query, [sum(column) / len(references) for column in zip(*references, strict=True)])
    if length < 2:
        return 0.0
    return sum(cosine(centred(query), centred(row)) for row in references) / len(references)


EIGHTHS = st.integers(0, 8).map(lambda number: number / 8)
ROWS = st.lists(st.lists(EIGHTHS, min_size=1, max_size=6), min_size=1, max_size=6)


@pytest.mark.slow
@given(ROWS, ROWS, st.sampled_from(TrajectoryForm))
def test_the_similarity_is_that_of_a_slow_version(queries, references, form):
    length = min(map(len, queries))
    queries = [row[:length] for row in queries]
    expected = [slow_similarity(row, references, form) for row in queries]
    assert trajectory_similarities(queries, references, form) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("top_share", "threshold", "expected"),
    [
        (0.5, None, [0, 2]),
        (0.1, None, [0]),  # at least one
        (0.0, 0.6, [0, 2]),  # the threshold itself reaches
        (0.1, 0.2, [0, 1, 2]),
        (0.0, None, []),
    ],
)
def test_the_top_share_and_the_threshold_by_hand(top_share, threshold, expected):
    assert chosen_indices([0.9, 0.2, 0.6, 0.1], top_share, threshold, [0, 1, 2, 3]) == expected


def test_equal_similarities_are_ordered_by_draw():
    assert chosen_indices([0.5, 0.5, 0.5], 0.4, None, [7, 2, 5]) == [1]


def test_questions_with_labels_are_trained_and_others_if_they_are_like_them():
    history = history_of(
        known=[visit(0.2, is_labelled=True), visit(0.4, is_labelled=True), visit(0.6, is_labelled=True)],
        like=[visit(0.1), visit(0.2)],
        unlike=[visit(1.0), visit(0.3)],
    )
    candidates = [
        Candidate("like", visit(0.3), 0.0),
        Candidate("labelled", visit(0.0, is_labelled=True), 0.0),
        Candidate("unlike", visit(0.0), 0.0),
    ]
    for form in ("mean", "each"):
        selection = TrajectorySelection(**TRAPO | {"form": form})
        # "labelled" has one visit, so that all are cut to one: without it, three visits tell them apart.
        found = selection.select(3, [candidates[0], candidates[2]], history)
        assert found == [True, False]
    assert TrajectorySelection(**TRAPO).select(3, candidates, history)[1]


def test_nothing_without_a_label_is_trained_while_it_warms_up():
    history = history_of(known=[visit(1.0, is_labelled=True)] * 3, old=[visit(1.0)] * 2, new=[visit(1.0)])
    candidates = [Candidate("old", visit(1.0), 0.0), Candidate("new", visit(1.0), 0.0)]
    selection = TrajectorySelection(**TRAPO | {"num_warmup_visits": 2})
    assert selection.select(3, candidates, history) == [True, False]  # the third visit and the second


def test_selected_questions_are_references_until_they_are_asked_again():
    rising, falling = [visit(0.1), visit(0.9)], [visit(0.9), visit(0.1)]
    labelled = [replace(item, is_labelled=True) for item in falling]
    left_out = [replace(item, is_trained=False) for item in rising]
    like_the_others = [Candidate("new", rising[1], 0.0)]

    def selects(adds_selected, candidates=like_the_others, **others):
        rule = TrajectorySelection(**TRAPO | {"adds_selected": adds_selected, "threshold": 0.8, "form": "mean"})
        return rule.select(2, candidates, history_of(known=labelled, new=rising[:1], **others))

    assert selects(True) == [False]
    assert selects(False, a=rising, b=rising, c=rising, d=rising) == [False]
    assert selects(True, a=rising, b=rising, c=rising, d=rising) == [True]
    assert selects(True, a=left_out, b=left_out, c=left_out, d=left_out) == [False]
    again = [*like_the_others, *(Candidate(name, visit(0.0), 0.0) for name in "abcd")]
    assert selects(True, again, a=rising, b=rising, c=rising, d=rising)[0] is False


def test_the_control_draws_as_many_at_random():
    history = history_of(known=[visit(0.2, is_labelled=True), visit(0.8, is_labelled=True)])
    candidates = [Candidate(f"q{number}", visit(0.5), 0.0) for number in range(20)]
    rule = TRAPO | {"top_share": 0.3, "threshold": None}
    chosen = TrajectorySelection(**rule).select(1, candidates, history)
    drawn = [TrajectorySelection(**rule | {"is_random": True}).select(step, candidates, history) for step in (1, 1, 2)]
    assert [sum(flags) for flags in (chosen, *drawn)] == [6, 6, 6, 6]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"form": "both"}, r"form: both; expected mean or each"),
        ({"top_share": 1.5}, r"top_share: 1\.5; 0 to 1"),
        ({"threshold": -2.0}, r"threshold: -2\.0; -1 to 1"),
        ({"num_warmup_visits": -1}, r"num_warmup_visits: -1"),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        TrajectorySelection(**TRAPO | change)


@pytest.mark.parametrize("num_warmup_visits", [0, 8])
def test_a_step_without_questions_with_labels_is_refused_at_once(num_warmup_visits):
    selection = TrajectorySelection(**TRAPO | {"num_warmup_visits": num_warmup_visits})
    with pytest.raises(InputError, match=r"grpo\.selection: .*there are none; take experiment=trapo"):
        selection.select(0, [Candidate("q", visit(0.5), 0.0)], history_of())


def test_questions_that_are_left_out_are_not_trained_and_say_so(policy, tmp_path):
    """The engine answers AAAB: labels B have pass rates of 1/4, majorities of 3/4, so nothing moves."""
    node = {"_target_": "medssr.grpo.selection.TrajectorySelection", **TRAPO, "form": "each", "top_share": 0.4}
    labelled = [toy_question(number, answer="B") for number in range(10, 14)]
    unlabelled = [toy_question(number, answer=None, provenance={"truth": "AB"[number % 2]}) for number in range(6)]
    rewards = {"label": LabelMatch(1.0), "vote": MajorityVote(1.0, None)}
    config = grpo_config(beta=0.0, num_steps=2, num_prompts_per_step=4, selection=node)
    optimizer = partial(SGD, lr=1.0)
    names = {question.id: ["label"] for question in labelled} | {question.id: ["vote"] for question in unlabelled}
    engine = lambda policy, **_: LetterEngine(policy)  # noqa: E731
    module = make_module(policy, config, rewards, optimizer, engine, reward_names=names)
    fit(policy, tmp_path, config, module=module, questions=labelled, further={"unlabelled": (unlabelled, 3)})
    for row in metrics(tmp_path):
        assert float(row["train/selected_share"]) == pytest.approx(1 / 3)
        assert float(row["train/frac_nonzero_std"]) == pytest.approx(2 / 4)
    visits = [item for _, row in part_of(module, Visits).history.items() for item in row]
    assert sorted((item.is_labelled, item.is_trained) for item in visits) == sorted(
        [(True, True), (False, True), (False, False), (False, False)] * 2
    )
    assert {item.pass_rate for item in visits if item.is_labelled} == {0.25}
    groups = module.last_step.groups
    assert {group.weight for group in groups if not group.is_trained} == {0.0}
