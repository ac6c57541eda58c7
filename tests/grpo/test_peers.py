"""Two views of a question, and the votes of one view or of a teacher on the completions of another."""

from __future__ import annotations

import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.helpers import completion, grpo_config, toy_question

from medssr.answers import Choice
from medssr.errors import InputError
from medssr.grpo.peers import derangement, permuted_view, with_other_views, with_permuted_ids, with_views
from medssr.grpo.rollouts import Rollout, RolloutGroup
from medssr.questions import Question
from medssr.rewards.groups import GroupInput
from medssr.rewards.peer_vote import PeerVote
from medssr.training.step_loader import StepBatch

ORGANS = Question(
    "q", "Which organ?", {"A": "liver", "B": "heart", "C": "lung"}, "A", "example", provenance={"truth": "B"}
)
COUNT = Question("n", "How many?", {"A": "one", "B": "two", "C": "None of the above"}, "A", "example")


def group(question, letters, **fields):
    rollouts = [Rollout(completion(), Choice(letter, ""), 0.0, 0.0) for letter in letters]
    return RolloutGroup(question, [1, 2], rollouts, **fields)


def score(question, letters, peers):
    choices = [Choice(letter, "") for letter in letters]
    scored = PeerVote(1.0).score_group(
        GroupInput(question, [completion() for _ in letters], choices, peer_letters=peers)
    )
    return scored.rewards, scored.label


@given(st.integers(2, 10), st.integers(0, 2**63 - 1))
def test_no_letter_keeps_its_place(number, seed):
    letters = list(string.ascii_uppercase[:number])
    order = derangement(letters, seed)
    assert sorted(order) == letters
    assert all(new != old for new, old in zip(order, letters, strict=True))
    assert order == derangement(letters, seed)


def test_all_orders_of_four_letters_without_a_fixed_one_are_as_likely():
    found = [tuple(derangement("ABCD", seed)) for seed in range(1800)]
    counts = [found.count(order) for order in set(found)]
    assert len(counts) == 9  # of 24
    assert min(counts) > 150


def test_a_view_has_the_same_texts_under_other_letters_and_the_label_follows():
    view = permuted_view(ORGANS, seed=5)
    assert sorted(view.options.values()) == sorted(ORGANS.options.values())
    assert all(view.options[letter] != text for letter, text in ORGANS.options.items())
    assert view.options[view.answer] == "liver"
    assert view.options[view.provenance["truth"]] == "heart"


def test_a_question_whose_options_refer_to_each_other_is_asked_twice_as_it_is():
    assert permuted_view(COUNT, seed=5) == replace(COUNT, id="n/permuted")


def test_each_question_of_a_batch_is_followed_by_its_view_and_visits_have_views_of_their_own():
    following = StepBatch(8, [ORGANS])
    batch = with_views(StepBatch(7, [ORGANS, COUNT], following=following), seed=1, stage="s")
    assert [item.id for item in batch.items] == ["q", "q/permuted", "n", "n/permuted"]
    assert (batch.step, batch.items[0], batch.items[2]) == (7, ORGANS, COUNT)
    assert [item.id for item in batch.following.items] == ["q", "q/permuted"]
    assert batch == with_views(StepBatch(7, [ORGANS, COUNT], following=following), seed=1, stage="s")
    orders = {
        tuple(with_views(StepBatch(step, [ORGANS]), seed=1, stage="s").items[1].options.values()) for step in range(20)
    }
    assert len(orders) == 2  # both that there are


def test_the_answers_to_one_view_are_those_of_the_peers_of_the_other():
    """In the view, A is the lung, B the liver, C the heart."""
    view = replace(ORGANS, id="q/permuted", options={"A": "lung", "B": "liver", "C": "heart"})
    first, second = with_other_views([group(ORGANS, ["A", "A", None]), group(view, ["C", "A", "B"])])
    assert first.peer_letters == ["B", "C", "A"]
    assert second.peer_letters == ["B", "B", None]


def test_with_a_teacher_its_answers_are_exchanged_between_the_views():
    view = replace(ORGANS, id="q/permuted", options={"A": "lung", "B": "liver", "C": "heart"})
    groups = [group(ORGANS, ["A"], peer_letters=["C", "C"]), group(view, ["A"], peer_letters=["B", None])]
    first, second = with_other_views(groups)
    assert first.peer_letters == ["A", None]
    assert second.peer_letters == ["A", "A"]


@pytest.mark.parametrize(
    ("letters", "peers", "rewards", "label"),
    [
        (["A", "B", None], ["B", "B", "A"], [0, 1, 0], "B"),  # its own majority does not count
        (["A", "A", "B"], ["A", "B", None], [0, 0, 0], None),  # a tie rewards nobody
        (["A", "B", "A"], [None, None], [0, 0, 0], None),
        (["A", "B", "A"], ["A", None, None, None], [1, 0, 1], "A"),
    ],
)
def test_the_majority_of_peers_is_the_label(letters, peers, rewards, label):
    assert score(toy_question(answer=None), letters, peers) == (rewards, label)


@given(st.sampled_from("ABC"), st.integers(0, 2**63 - 1))
def test_a_policy_that_always_answers_with_one_letter_is_never_rewarded(letter, seed):
    view = permuted_view(ORGANS, seed)
    for found in with_other_views([group(ORGANS, [letter] * 4), group(view, [letter] * 4)]):
        rewards, label = score(found.question, [letter] * 4, found.peer_letters)
        assert rewards == [0.0] * 4
        assert label not in (None, letter)


def test_rewards_of_a_question_are_those_of_its_views():
    assert with_permuted_ids({"q": ["vote"]}) == {"q": ["vote"], "q/permuted": ["vote"]}


def test_views_are_refused_with_dynamic_sampling():
    with pytest.raises(InputError, match=r"grpo\.has_permuted_view: true, .*take 0 rounds"):
        grpo_config(has_permuted_view=True, dynamic_sampling_rounds=1)
