import pytest
from support.helpers import completion, toy_question

from medssr.answers import Choice
from medssr.grpo.metrics import length_metrics, reward_metrics, rollout_metrics
from medssr.grpo.rollouts import Rollout, RolloutGroup
from medssr.rewards.scoring import FaultKind, RewardResult, failed


def group(letters: str, rewards: list[float], num_tokens: int = 3, num_cut: int = 0, **question) -> RolloutGroup:
    """A group with one rollout per letter; "-" is an answer without a letter."""
    asked = toy_question(**question)
    return RolloutGroup(
        asked,
        [1, 2],
        [
            Rollout(
                completion([7] * num_tokens, is_truncated=index < num_cut),
                Choice(None if letter == "-" else letter, "answer_phrase"),
                reward,
                reward,
            )
            for index, (letter, reward) in enumerate(zip(letters, rewards, strict=True))
        ],
        asked.answer,
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
        "train/reward_std": pytest.approx(1 / 2),
        "train/group_reward_std": pytest.approx((0 + 0 + 1 / 2) / 3),
        "train/all_right_share": pytest.approx(1 / 3),
        "train/all_wrong_share": pytest.approx(1 / 3),
        "train/invalid_share": pytest.approx(2 / 12),
        "train/truncated_share": pytest.approx(3 / 12),
        "train/hinted_share": 0.0,
        "train/completion_tokens": pytest.approx(4),
        # A; B and none; A, B and none
        "train/distinct_answers": pytest.approx((1 + 2 + 3) / 3),
        # of four answers each, the invalid ones included
        "train/agreement": pytest.approx((4 / 4 + 3 / 4 + 2 / 4) / 3),
    }


def test_a_group_without_a_valid_answer_has_no_agreement():
    assert rollout_metrics([group("--", [0, 0]), group("AB", [1, 0])])["train/agreement"] == 0.5
    assert "train/agreement" not in rollout_metrics([group("--", [0, 0])])


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
    without_truth = rollout_metrics([group("AB", [1, 0])])
    assert {name: with_truth[name] for name in without_truth} == without_truth


def test_lengths_by_hand():
    metrics = length_metrics(
        [
            group("AAB", [1, 1, 0], num_tokens=2, answer="A"),
            group("B-A", [1, 0, 0], num_tokens=6, num_cut=2, answer="B"),
        ]
    )
    assert metrics == {
        "train/completion_tokens_min": 2,
        "train/completion_tokens_max": 6,
        "train/num_tokens": 3 * (2 + 2) + 3 * (2 + 6),
        "train/completion_tokens_finished": pytest.approx((2 + 2 + 2 + 6) / 4),
        "train/completion_tokens_right": pytest.approx((2 + 2 + 6) / 3),
        "train/completion_tokens_wrong": pytest.approx((2 + 6 + 6) / 3),
    }


def test_lengths_of_what_there_is_none_of_are_left_out():
    metrics = length_metrics([group("BB", [0, 0], num_cut=2, answer="A")])
    assert not {"train/completion_tokens_finished", "train/completion_tokens_right"} & metrics.keys()


def judged(*rows: dict[str, RewardResult]) -> RolloutGroup:
    rollouts = [Rollout(completion(), Choice("A", ""), 0.0, 0.0, row) for row in rows]
    return RolloutGroup(toy_question(), [1], rollouts)


def test_each_reward_by_hand():
    fault, silent = failed(FaultKind.raised, ""), RewardResult(float("nan"))
    metrics = reward_metrics(
        [
            judged({"one": RewardResult(1.0), "two": silent}, {"one": RewardResult(0.0), "two": fault}),
            judged({"one": RewardResult(1.0), "two": fault}, {"one": failed(FaultKind.timed_out, ""), "two": silent}),
        ]
    )
    assert metrics == {
        "train/reward/one": pytest.approx(2 / 3),
        "train/reward_std/one": pytest.approx((2 / 9) ** 0.5),
        "train/reward_fault_share": pytest.approx(3 / 8),
        "train/reward_faults/one/timed_out": 1,
        "train/reward_faults/two/raised": 2,
    }
