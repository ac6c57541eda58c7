from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.labeling.votes import NUM_BANDS, LabelOutcome, label_accuracy_by_band, label_outcome, majority_vote

ANSWERS = st.lists(st.sampled_from(["A", "B", "C", "D", None]), max_size=32)


@pytest.mark.parametrize(
    ("letters", "label", "agreement", "num_invalid", "is_tied"),
    [
        (["A"], "A", 1.0, 0, False),
        (["A", "B", "B"], "B", 2 / 3, 0, False),
        (["A", "B", "B", None], "B", 2 / 4, 1, False),
        (["C", None, None, None], "C", 1 / 4, 3, False),
        (["C", *[None] * 15], "C", 1 / 16, 15, False),
        (["A", "B", None, None], None, 1 / 4, 2, True),
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
    assert (vote.num_valid, vote.num_votes, vote.valid_share) == (3, 4, 0.75)
    assert majority_vote([None]).valid_share == majority_vote([]).valid_share == 0


def test_invalid_answers_never_win():
    assert majority_vote([None] * 9 + ["B"]).label == "B"


@pytest.mark.slow
@given(ANSWERS.flatmap(lambda letters: st.tuples(st.just(letters), st.permutations(letters))))
def test_the_order_of_the_answers_does_not_matter(pair):
    letters, shuffled = pair
    assert majority_vote(letters) == majority_vote(shuffled)
    assert list(majority_vote(letters).counts) == list(majority_vote(shuffled).counts)


@pytest.mark.slow
@given(ANSWERS)
def test_every_answer_is_counted_once_and_agreement_is_at_most_the_valid_share(letters):
    vote = majority_vote(letters)
    assert vote.num_valid + vote.num_invalid == vote.num_votes == len(letters)
    assert vote.counts == Counter(letter for letter in letters if letter is not None)
    if vote.num_valid == 0:
        assert vote.agreement is None
    else:
        # With k letters, the winner has at least a kth of the valid votes.
        assert vote.valid_share / len(vote.counts) - 1e-12 <= vote.agreement <= vote.valid_share <= 1


@given(ANSWERS, st.integers(1, 20))
def test_an_invalid_vote_never_raises_the_agreement_and_changes_no_winner(letters, num_invalid):
    before, after = majority_vote(letters), majority_vote(letters + [None] * num_invalid)
    assert (after.label, after.counts, after.is_tied) == (before.label, before.counts, before.is_tied)
    assert after.valid_share <= before.valid_share
    if before.agreement is not None:
        assert after.agreement < before.agreement


@given(ANSWERS)
def test_a_label_has_strictly_more_votes_than_any_other_letter(letters):
    vote = majority_vote(letters)
    assert (vote.label is None) == (vote.is_tied or vote.num_valid == 0)
    if vote.label is not None:
        assert all(vote.counts[vote.label] > count for letter, count in vote.counts.items() if letter != vote.label)


SHARES = st.floats(0, 1)


def outcome(letters: str, low: float, high: float, min_valid_share: float = 0.5) -> LabelOutcome:
    """The outcome of a vote of one letter a sample; "-" is an invalid answer."""
    vote = majority_vote([None if letter == "-" else letter for letter in letters])
    return label_outcome(vote, low, high, min_valid_share)


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ("AAAB", LabelOutcome.kept),  # 3/4
        ("AAB-", LabelOutcome.kept),  # 2/4: an invalid answer is a vote against
        ("AAB--", LabelOutcome.below_band),  # 2/5
        ("AABB", LabelOutcome.tied),
        ("AABC", LabelOutcome.kept),  # 1/2, the band's low end
        ("AABCD", LabelOutcome.below_band),  # 2/5
        ("AAAAAAAAB", LabelOutcome.kept),  # 8/9
        ("AAAAAAAAAB", LabelOutcome.kept),  # 9/10, the band's high end
        ("AAAAAAAAAAB", LabelOutcome.above_band),  # 10/11
        ("AAAA", LabelOutcome.above_band),
        ("AAAA-", LabelOutcome.kept),  # 4/5
        ("AA--", LabelOutcome.kept),  # 2/4, and half of the votes are valid
        ("AA---", LabelOutcome.few_valid_votes),  # 2/5 of the votes are valid
        ("A---", LabelOutcome.few_valid_votes),
        ("AB---", LabelOutcome.few_valid_votes),
        ("----", LabelOutcome.no_valid_vote),
        ("", LabelOutcome.no_valid_vote),
    ],
)
def test_by_hand_in_a_band_of_a_half_to_nine_tenths(letters, expected):
    assert outcome(letters, 0.5, 0.9) is expected


def test_one_valid_vote_of_sixteen_is_no_label():
    letters = "A" + 15 * "-"
    assert outcome(letters, 0.0, 1.0) is LabelOutcome.few_valid_votes
    assert outcome(letters, 0.4, 1.0, min_valid_share=0.0) is LabelOutcome.below_band
    assert outcome(letters, 0.0, 1.0, min_valid_share=0.0) is LabelOutcome.kept


def test_a_tie_is_no_label_even_within_the_band():
    assert outcome("AABB", 0.0, 1.0) is LabelOutcome.tied


def test_a_tie_outside_the_band_is_counted_as_a_tie():
    assert outcome("AABB", 0.9, 1.0) is LabelOutcome.tied


@pytest.mark.parametrize("votes", range(1, 16))
def test_the_band_s_ends_are_inclusive(votes):
    letters = "A" * votes + "".join("BCDEFGHIJKLMNOP"[place] for place in range(16 - votes))
    if votes > 1:
        assert outcome(letters, votes / 16, votes / 16) is LabelOutcome.kept


def test_the_widest_band_keeps_every_label():
    assert outcome("AAAA", 0.0, 1.0) is outcome("AABC", 0.0, 1.0) is LabelOutcome.kept


@pytest.mark.slow
@given(st.lists(st.sampled_from("ABCD-"), max_size=16), SHARES, SHARES, SHARES)
def test_every_vote_has_one_outcome_that_fits_it(letters, one, other, min_valid_share):
    low, high = sorted((one, other))
    vote = majority_vote([None if letter == "-" else letter for letter in letters])
    is_read = vote.num_valid > 0 and vote.valid_share >= min_valid_share
    has_winner = is_read and vote.label is not None
    fits = {
        LabelOutcome.no_valid_vote: vote.num_valid == 0,
        LabelOutcome.few_valid_votes: vote.num_valid > 0 and vote.valid_share < min_valid_share,
        LabelOutcome.tied: is_read and vote.is_tied,
        LabelOutcome.below_band: has_winner and vote.agreement < low,
        LabelOutcome.above_band: has_winner and vote.agreement > high,
        LabelOutcome.kept: has_winner and low <= vote.agreement <= high,
    }
    assert [name for name, is_met in fits.items() if is_met] == [label_outcome(vote, low, high, min_valid_share)]


def test_bands_by_hand():
    labels = [(0.55, True), (0.6, False), (0.6, True), (0.601, True), (1.0, True), (0.05, False), (0.1, True)]
    bands = label_accuracy_by_band(labels)
    assert [(band.low, band.high) for band in bands] == [(n / 10, (n + 1) / 10) for n in range(10)]
    assert [band.n for band in bands] == [2, 0, 0, 0, 0, 3, 1, 0, 0, 1]
    assert [bands[place].accuracy for place in (0, 5, 6, 9)] == pytest.approx([1 / 2, 2 / 3, 1.0, 1.0])
    assert bands[1].accuracy is None


@given(st.integers(1, 64).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n))))
def test_a_share_is_in_the_one_band_that_holds_it(share):
    votes, valid = share
    (band,) = [band for band in label_accuracy_by_band([(votes / valid, True)]) if band.n]
    # In whole numbers, which do not round: low < votes / valid <= high.
    low, high = round(band.low * NUM_BANDS), round(band.high * NUM_BANDS)
    assert low * valid < votes * NUM_BANDS <= high * valid


@pytest.mark.slow
@given(st.lists(st.tuples(SHARES, st.booleans()), max_size=30))
def test_bands_count_every_label_once(labels):
    bands = label_accuracy_by_band(labels)
    assert sum(band.n for band in bands) == len(labels)
    right = sum(band.accuracy * band.n for band in bands if band.n)
    assert right == pytest.approx(sum(is_true for _, is_true in labels))
