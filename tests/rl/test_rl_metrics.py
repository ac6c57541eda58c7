import pytest
from helpers import completion, toy_question

from medssr.answers import Choice
from medssr.rl.metrics import rollout_metrics
from medssr.rollout.types import Rollout, RolloutGroup


def group(letters: str, rewards: list[float], num_tokens: int = 3, num_cut: int = 0, **question) -> RolloutGroup:
    """A group with one rollout a letter; "-" is an answer without a letter."""
    return RolloutGroup(
        toy_question(**question),
        [1, 2],
        [
            Rollout(
                completion([7] * num_tokens, is_truncated=place < num_cut),
                Choice(None if letter == "-" else letter, "answer_phrase"),
                reward,
            )
            for place, (letter, reward) in enumerate(zip(letters, rewards, strict=True))
        ],
    )


def test_all_by_hand():
    metrics = rollout_metrics(
        [
            group("AAAA", [1, 1, 1, 1], num_tokens=2),
            group("BB-B", [0, 0, 0, 0], num_tokens=4, num_cut=1),
            group("AB-A", [1, 0, 0, 1], num_tokens=6, num_cut=2),
        ]
    )
    assert metrics == {
        "train/reward": pytest.approx(6 / 12),
        "train/all_right_share": pytest.approx(1 / 3),
        "train/all_wrong_share": pytest.approx(1 / 3),
        "train/invalid_share": pytest.approx(2 / 12),
        "train/truncated_share": pytest.approx(3 / 12),
        "train/completion_tokens": pytest.approx(4),
        # A; B and none; A, B and none
        "train/distinct_answers": pytest.approx((1 + 2 + 3) / 3),
    }


def test_the_truth_is_reported_where_it_is_known():
    metrics = rollout_metrics(
        [
            group("AABA", [1, 1, 0, 1], answer="A", provenance={"truth": "A"}),
            group("AB-B", [1, 0, 0, 0], answer="A", provenance={"truth": "B"}),
            group("BBBB", [0, 0, 0, 0], answer="A"),
        ]
    )
    assert metrics["train/label_accuracy"] == pytest.approx(1 / 2)
    assert metrics["train/true_accuracy"] == pytest.approx((3 + 2) / 8)


def test_the_truth_is_left_out_where_nobody_knows_it():
    assert not {"train/label_accuracy", "train/true_accuracy"} & rollout_metrics([group("AB", [1, 0])]).keys()


def test_the_truth_changes_no_other_metric():
    with_truth = rollout_metrics([group("AB", [1, 0], provenance={"truth": "B"})])
    without = rollout_metrics([group("AB", [1, 0])])
    assert {name: with_truth[name] for name in without} == without
