"""Rewards of groups: what they see, what they return, and what is made of a faulty one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.helpers import completion, toy_question

from medssr.answers import Choice
from medssr.labeling.votes import majority_vote
from medssr.questions.option_order import reorder_options
from medssr.rewards.controls import RandomLabel
from medssr.rewards.groups import GroupInput, GroupScore, group_result, score_group
from medssr.rewards.history import QuestionHistory, Visit, visit_of
from medssr.rewards.isolation import IsolatedReward
from medssr.rewards.scoring import FaultKind, RewardTraits, traits_of
from medssr.rewards.votes import AnswerFrequency, MajorityVote, answer_shares


def group(letters, answer="A", **fields):
    """A group with a completion for each letter; "-" is one without an answer, "!" a truncated one that says A."""
    return GroupInput(
        toy_question(answer=answer),
        [completion([7, 8, 9], is_truncated=letter == "!") for letter in letters],
        [Choice({"-": None, "!": "A"}.get(letter, letter), "") for letter in letters],
        **fields,
    )


def rewards_of(score):
    return list(score.rewards)


@pytest.mark.parametrize(
    ("letters", "expected", "label"),
    [
        ("AABB-B", [0, 0, 1, 1, 0, 1], "B"),
        ("A---", [1, 0, 0, 0], "A"),  # what cannot be read is no candidate
        ("AABB", [0, 0, 0, 0], None),  # a tie rewards nobody
        ("----", [0, 0, 0, 0], None),
        ("!!B", [0, 0, 1], "B"),  # a truncated completion has no vote
    ],
)
def test_the_majority_by_hand(letters, expected, label):
    score = MajorityVote(1.0, None).score_group(group(letters))
    assert (rewards_of(score), score.label) == (expected, label)


def test_further_completions_vote_and_are_not_trained():
    """The first three alone have the majority A, all seven have B: TTRL with 7 votes of which 3 are trained."""
    score = MajorityVote(1.0, num_trained=3).score_group(group("AABBBB-"))
    assert rewards_of(score) == [0, 0, 1, None, None, None, None]


def ttrl_in_loops(letters, num_trained):
    """The slow version: counts each answer in turn, and compares one by one."""
    best, is_tied, most = None, False, 0
    for candidate in sorted({letter for letter in letters if letter != "-"}):
        number = 0
        for letter in letters:
            if letter == candidate:
                number += 1
        if number > most:
            best, is_tied, most = candidate, False, number
        elif number == most:
            is_tied = True
    rewards = []
    for index, letter in enumerate(letters):
        if index >= num_trained:
            rewards.append(None)
        else:
            rewards.append(1.0 if best is not None and not is_tied and letter == best else 0.0)
    return rewards


def empo_in_loops(letters, min_share):
    """The slow version: builds clusters of equal answers one by one; an unreadable answer opens one of its own."""
    clusters = []
    for index, letter in enumerate(letters):
        for cluster in clusters:
            if letter != "-" and letters[cluster[0]] == letter:
                cluster.append(index)
                break
        else:
            clusters.append([index])
    rewards = [0.0] * len(letters)
    for cluster in clusters:
        for index in cluster:
            rewards[index] = len(cluster) / len(letters)
    return rewards if max(rewards) >= min_share else [0.0] * len(letters)


LETTERS = st.text(alphabet="AB-", min_size=2, max_size=16)


@given(LETTERS, st.integers(2, 16))
def test_the_majority_is_that_of_a_slow_version(letters, num_trained):
    score = MajorityVote(1.0, num_trained).score_group(group(letters))
    assert rewards_of(score) == ttrl_in_loops(letters, num_trained)


@given(LETTERS, st.sampled_from([0.0, 0.25, 0.6]))
def test_the_frequency_is_that_of_a_slow_version(letters, min_share):
    score = AnswerFrequency(1.0, min_share, masks_answer=False).score_group(group(letters))
    assert rewards_of(score) == pytest.approx(empo_in_loops(letters, min_share))


@pytest.mark.parametrize(
    ("letters", "expected"),
    [("AAB-", [0.5, 0.5, 0.25, 0.25]), ("----", [0.25] * 4), ("AAAB-", [0.6, 0.6, 0.6, 0.2, 0.2])],
)
def test_the_frequency_by_hand(letters, expected):
    assert rewards_of(AnswerFrequency(1.0, 0.0, masks_answer=False).score_group(group(letters))) == expected


def test_a_question_without_agreement_has_no_frequency_reward():
    assert rewards_of(AnswerFrequency(1.0, 0.51, masks_answer=False).score_group(group("AAB-"))) == [0.0] * 4


@given(st.lists(st.sampled_from("ABC"), min_size=1))
def test_the_largest_share_is_the_agreement(letters):
    assert max(answer_shares(letters)) == majority_vote(letters).agreement


def test_the_tokens_of_the_answer_are_masked():
    seen = group("AB-", answer_tokens=[(range(1, 2),), (range(2, 3), range(1)), None])
    score = AnswerFrequency(1.0, 0.0, masks_answer=True).score_group(seen)
    assert score.token_masks == [(True, False, True), (False, True, False), None]
    assert AnswerFrequency(1.0, 0.0, masks_answer=False).score_group(seen).token_masks is None


class Returns:
    weight = 1.0

    def __init__(self, score):
        self._score = score

    def score_group(self, group):
        if isinstance(self._score, Exception):
            raise self._score
        return self._score


@pytest.mark.parametrize(
    ("score", "kind", "cause"),
    [
        (ValueError("no"), FaultKind.raised, "ValueError: no"),
        ([1.0, 0.0], FaultKind.wrong_type, "returned list, expected a GroupScore"),
        (GroupScore([1.0]), FaultKind.wrong_type, "returned 1 rewards for 2 completions"),
        (GroupScore([1.0, 0.0], question_weight=-1.0), FaultKind.wrong_type, "question_weight -1.0"),
        (GroupScore([1.0, 0.0], question_weight=math.nan), FaultKind.wrong_type, "question_weight nan"),
        (GroupScore([1.0, 0.0], advantage_shifts=[math.inf, 0.0]), FaultKind.wrong_type, "advantage_shifts"),
        (GroupScore([1.0, 0.0], token_masks=[[True], None]), FaultKind.wrong_type, "mask of 1 tokens"),
        (GroupScore([1.0, 0.0], label="Z"), FaultKind.wrong_type, "label 'Z'"),
    ],
)
def test_a_faulty_reward_leaves_its_group_unscored_and_names_what_is_wrong(score, kind, cause):
    result = score_group(Returns(score), group("AB"))
    assert all(math.isnan(item.value) for item in result.results)
    fault = result.results[1].fault
    assert (fault.kind, result.question_weight) == (kind, 1.0)
    assert cause in fault.cause
    assert "test_groups.py, line" in fault.location


def test_one_bad_number_leaves_the_others_their_rewards():
    result = score_group(Returns(GroupScore([1.0, "high"], question_weight=0.5)), group("AB"))
    assert (result.results[0].value, result.results[1].fault.kind) == (1.0, FaultKind.wrong_type)
    assert result.question_weight == 0.5


def test_the_traits_of_a_reward_are_its_attributes():
    assert traits_of(MajorityVote) == RewardTraits(decides_signal=True, is_label_free=True, sees_groups=True)
    assert traits_of(AnswerFrequency(1.0, 0.0, masks_answer=True)).needs_answer_tokens
    assert not traits_of(AnswerFrequency(1.0, 0.0, masks_answer=False)).needs_answer_tokens


@pytest.mark.slow
def test_a_group_reward_of_a_user_runs_in_its_own_process():
    reward = IsolatedReward("mine", {"_target_": "support.user_rewards.FewestAnswers", "weight": 2.0}, timeout_s=5.0)
    assert reward.traits == RewardTraits(is_label_free=True, sees_groups=True)
    reward.begin()
    groups = [group("AAB"), group("---")]
    for index in (1, 0):
        reward.add(index, groups[index])
    good, bad = (group_result(result, one) for result, one in zip(reward.results().values(), groups, strict=True))
    assert ([item.value for item in good.results], good.question_weight) == ([0.0, 0.0, 1.0], 0.5)
    assert {item.fault.kind for item in bad.results} == {FaultKind.raised}
    assert "FewestAnswers" in bad.results[0].fault.location
    reward.close()


def test_a_visit_by_hand():
    question = toy_question()  # A is the liver, B the heart
    visit = visit_of(2, question, ["A", "B", "B", None], label="A")
    assert visit == Visit(2, {"heart": 2, "liver": 1}, 4, "heart", 0.25)
    assert visit.majority_share == 0.5
    assert visit_of(0, question, ["A", "B"], label=None) == Visit(0, {"heart": 1, "liver": 1}, 2, None, None)
    assert visit_of(0, question, [None], label=None).majority_share == 0


def test_a_history_is_the_same_whatever_the_order_of_a_step_and_after_a_checkpoint():
    visits = [
        ("q1", Visit(0, {"a": 2}, 2, "a", None)),
        ("q1", Visit(0, {"b": 2}, 2, "b", None)),
        ("q2", Visit(0, {}, 2, None, 0.0)),
    ]
    one, other = QuestionHistory("s"), QuestionHistory("s")
    one.add(visits)
    other.add(reversed(visits))
    one.add([("q1", Visit(1, {"a": 1}, 2, "a", None))])
    assert one["q1"][:2] == other["q1"]
    assert [visit.step for visit in one["q1"]] == [0, 0, 1]
    assert one["q3"] == ()
    restored = QuestionHistory("s")
    restored.load_state_dict(one.state_dict())
    assert restored.state_dict() == one.state_dict()
    of_another_stage = QuestionHistory("t")
    of_another_stage.load_state_dict(one.state_dict())
    assert of_another_stage["q1"] == ()


def test_a_random_label_stays_with_its_option_when_options_are_shuffled():
    reward = RandomLabel(1.0, seed=3)
    labels = set()
    for number in range(20):
        question = toy_question(number, answer=None)
        choices = [Choice("A", ""), Choice("B", "")]
        score = reward.score_group(GroupInput(question, [completion(), completion()], choices))
        moved = reward.score_group(GroupInput(reorder_options(question, "BA"), [completion(), completion()], choices))
        assert list(score.rewards) == [float(letter == score.label) for letter in "AB"]
        assert question.options[score.label] == reorder_options(question, "BA").options[moved.label]
        labels.add(score.label)
    assert labels == {"A", "B"}
