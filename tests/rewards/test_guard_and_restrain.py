"""TTRL-Guard and RESTRAIN: by hand, and RESTRAIN against the sum over labels that it stands for."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from support.helpers import completion, toy_question

from medssr.answers import Choice
from medssr.errors import InputError
from medssr.grpo.advantages import group_advantages
from medssr.labeling.votes import majority_vote
from medssr.rewards.groups import GroupInput
from medssr.rewards.guard import GuardedVote, GuardRule, guarded_weight
from medssr.rewards.history import Visit
from medssr.rewards.restrain import SpreadVotes, spread_rewards, spread_weights

RULE = {
    "flip_penalty": 0.5,
    "confident_flip_factor": 0.7,
    "stable_factor": 0.85,
    "min_stable_visits": 5,
    "max_stable_visits": 5,
    "confident_share": 0.6,
    "min_weight": 0.1,
}


def group(letters, history=(), **provenance):
    return GroupInput(
        toy_question(answer=None, provenance=provenance),  # A is the liver, B the heart
        [completion() for _ in letters],
        [Choice(None if letter == "-" else letter, "") for letter in letters],
        history=history,
    )


def visits(*counts):
    """Visits of four completions, of which so many answer liver and the others heart."""
    made = []
    for step, livers in enumerate(counts):
        votes = {"heart": 4 - livers, "liver": livers}
        majority = None if livers == 2 else "liver" if livers > 2 else "heart"
        made.append(Visit(step, {text: count for text, count in votes.items() if count}, 4, majority, None))
    return made


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([3], 1.0),
        ([4, 0], 0.5 * 0.7),  # flips to a majority of all votes
        ([4, 1], 0.5 * 0.7),  # 3/4 is above 0.6 too
        ([4, 2, 0], 1.0),  # a tie flips nothing, nor does what follows it
        ([4, 0, 0], 1.0),  # flipped before, not now
        ([3, 3, 3, 3], 1.0),
        ([3, 3, 3, 3, 3], 0.85),
        ([3] * 9, 0.85),
        ([3] * 10, 1.0),  # at five visits at most
        ([4, 0, 0, 0, 0, 0], 1.0),  # flipped once, so never stable
        ([2, 2, 2, 2, 3], 1.0),  # (4 x 1/2 + 3/4) / 5 is below 0.6
    ],
)
def test_the_weight_of_a_question_by_hand(counts, expected):
    assert guarded_weight(visits(*counts), GuardRule(**RULE)) == pytest.approx(expected)


def test_an_unsure_flip_and_the_least_weight_by_hand():
    half = [Visit(0, {"a": 4}, 4, "a", None), Visit(1, {"b": 2, "a": 1}, 4, "b", None)]
    assert guarded_weight(half, GuardRule(**RULE)) == 0.5
    assert guarded_weight(visits(4, 0), GuardRule(**RULE | {"flip_penalty": 1.0})) == 0.1


def test_minorities_have_a_bonus_while_the_majority_flips():
    reward = GuardedVote(1.0, None, min_minority_share=0.25, minority_bonus=0.3, **RULE)
    before_was_heart = visits(0)
    score = reward.score_group(group("AAB-", before_was_heart))
    assert list(score.rewards) == [1.0, 1.0, 0.0, 0.0]
    assert score.advantage_shifts == pytest.approx([0, 0, 0.3 / 4, 0])  # what cannot be read is no minority
    assert (score.question_weight, score.label) == (0.5, "A")  # flips to a half
    assert reward.score_group(group("AAAAB", before_was_heart)).advantage_shifts == [0.0] * 5  # a fifth
    flipped_before = visits(0, 4)
    assert reward.score_group(group("AAB-", flipped_before)).advantage_shifts == pytest.approx([0, 0, 0.075, 0])
    assert reward.score_group(group("AAB-", visits(0, 4, 4))).advantage_shifts is None
    assert reward.score_group(group("AAB-")).question_weight == 1.0


def restrain_in_loops(letters, center, width):
    """The slow version: one GRPO advantage for each answer as label, and their weighted sum."""
    answers = sorted({letter for letter in letters if letter != "-"})
    raw = {}
    for answer in answers:
        share = sum(letter == answer for letter in letters) / len(letters)
        raw[answer] = math.exp(-((share - center) ** 2) / (2 * width**2))
    total = torch.zeros(1, len(letters))
    for answer in answers:
        rewards = torch.tensor([[float(letter == answer) for letter in letters]])
        total += raw[answer] / sum(raw.values()) * group_advantages(rewards)
    return total


@pytest.mark.slow
@given(st.text(alphabet="ABCD-", min_size=2, max_size=12), st.floats(0, 1), st.floats(0.2, 2))
def test_restrain_is_the_weighted_sum_over_labels(letters, center, width):
    assume(set(letters) != {"-"})
    by_letter = spread_rewards(majority_vote([None if item == "-" else item for item in letters]), center, width)
    rewards = torch.tensor([[by_letter.get(letter, 0.0) for letter in letters]])
    torch.testing.assert_close(
        group_advantages(rewards, "none"), restrain_in_loops(letters, center, width), rtol=1e-4, atol=1e-5
    )


def test_restrain_by_hand():
    """Three A and one B: s is 1/2 for both, and the weights are those of exp(-1/8) and exp(-9/8)."""
    first = 1 / (1 + math.exp(-1))
    reward = SpreadVotes(1.0, 1.0, 0.5, min_share=0.3, penalty=0.5, uses_agreement=False)
    score = reward.score_group(group("AAAB"))
    assert score.rewards == pytest.approx([2 * first] * 3 + [2 * (1 - first)], rel=1e-5)
    assert (score.advantage_shifts, score.question_weight) == (None, 1.0)
    assert spread_weights({"A": 1.0}, 0.2, 0.1) == {"A": 1.0}
    assert reward.score_group(group("AAAA")).rewards == [0.0] * 4  # nothing to compare
    assert reward.score_group(group("AB--")).rewards[2] == 0


def test_no_clear_majority_is_penalised():
    reward = SpreadVotes(1.0, 1.0, 0.5, min_share=0.3, penalty=0.5, uses_agreement=False)
    score = reward.score_group(group("A---"))
    assert (score.rewards, score.advantage_shifts) == ([0.0] * 4, [-0.5] * 4)
    assert reward.score_group(group("----")).advantage_shifts == [-0.5] * 4


def test_a_question_weighs_as_much_as_its_offline_agreement():
    reward = SpreadVotes(1.0, 1.0, 0.5, min_share=0.0, penalty=0.0, uses_agreement=True)
    assert reward.score_group(group("AAB", agreement=0.625)).question_weight == 0.625
    with pytest.raises(ValueError, match="'q0' has no agreement of an offline vote"):
        reward.score_group(group("AAB"))


@pytest.mark.parametrize(
    "change",
    [
        {"flip_penalty": 1.5},
        {"min_weight": -0.1},
        {"minority_bonus": -1.0},
        {"min_stable_visits": "x"},
        {"max_stable_visits": 0},
        {"min_minority_share": 2},
    ],
)
def test_numbers_out_of_range_are_refused(change):
    settings = {"min_minority_share": 0.25, "minority_bonus": 0.3, **RULE, **change}
    with pytest.raises(InputError, match=next(iter(change))):
        GuardedVote(1.0, None, **settings)
