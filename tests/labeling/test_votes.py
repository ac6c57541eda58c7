from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.labeling.votes import majority_vote

ANSWERS = st.lists(st.sampled_from(["A", "B", "C", "D", None]), max_size=32)


@pytest.mark.parametrize(
    ("letters", "label", "agreement", "num_invalid", "is_tied"),
    [
        (["A"], "A", 1.0, 0, False),
        (["A", "B", "B"], "B", 2 / 3, 0, False),
        (["A", "B", "B", None], "B", 2 / 3, 1, False),
        (["C", None, None, None], "C", 1.0, 3, False),
        (["A", "B"], None, 0.5, 0, True),
        (["A", "A", "B", "B", "C"], None, 0.4, 0, True),
        (["D", "C", "B", "A"], None, 0.25, 0, True),
        ([None, None], None, None, 2, False),
        ([], None, None, 0, False),
    ],
)
def test_outcomes_computed_by_hand(letters, label, agreement, num_invalid, is_tied):
    vote = majority_vote(letters)
    assert (vote.label, vote.num_invalid, vote.is_tied) == (label, num_invalid, is_tied)
    assert vote.agreement == pytest.approx(agreement)


def test_counts_are_in_the_order_of_the_alphabet():
    vote = majority_vote(["C", "A", None, "C"])
    assert list(vote.counts.items()) == [("A", 1), ("C", 2)]
    assert vote.num_valid == 3


def test_invalid_answers_never_win():
    assert majority_vote([None] * 9 + ["B"]).label == "B"


@given(ANSWERS.flatmap(lambda letters: st.tuples(st.just(letters), st.permutations(letters))))
def test_the_order_of_the_answers_does_not_matter(pair):
    letters, shuffled = pair
    assert majority_vote(letters) == majority_vote(shuffled)
    assert list(majority_vote(letters).counts) == list(majority_vote(shuffled).counts)


@given(ANSWERS)
def test_every_answer_is_counted_once_and_agreement_lies_between_one_kth_and_one(letters):
    vote = majority_vote(letters)
    assert vote.num_valid + vote.num_invalid == len(letters)
    assert vote.counts == Counter(letter for letter in letters if letter is not None)
    if vote.num_valid == 0:
        assert vote.agreement is None
    else:
        assert 1 / len(vote.counts) - 1e-12 <= vote.agreement <= 1


@given(ANSWERS)
def test_a_label_has_strictly_more_votes_than_any_other_letter(letters):
    vote = majority_vote(letters)
    assert (vote.label is None) == (vote.is_tied or vote.num_valid == 0)
    if vote.label is not None:
        assert all(vote.counts[vote.label] > count for letter, count in vote.counts.items() if letter != vote.label)
