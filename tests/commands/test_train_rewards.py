"""Tests medssr-train with user-defined rewards, valid and faulty ones."""

from __future__ import annotations

import logging

import pytest
from support.toy_stage import ToyStage, rows, weights

from medssr.errors import InputError

pytestmark = pytest.mark.slow

LABEL = {"_target_": "medssr.rewards.label_match.LabelMatch", "weight": 1.0}


@pytest.fixture
def train_with(tmp_path):
    """Trains a few steps with an engine that answers A in three of four samples, else B; `rewards` scores both."""
    sizes = ["grpo.num_prompts_per_step=2", "grpo.num_generations=8"]
    stage = ToyStage(tmp_path, 3, *sizes, rollout="support.helpers.LetterEngine")
    return lambda rewards, num_steps=2: stage("", f"grpo.num_steps={num_steps}", reward=rewards)


def mine(letters, weight=0.5):
    return {"_target_": "support.user_rewards.FailsForLetters", "weight": weight, "letters": letters}


def test_a_reward_of_the_user_s_own_counts_by_its_weight(train_with):
    (first, _) = rows(train_with({"label": LABEL, "mine": mine("")}))
    # Of four answers three are A (1 + 0.5 * 1) and one is B (0 + 0.5 * 2).
    assert float(first["train/reward"]) == pytest.approx((3 * 1.5 + 1.0) / 4)
    assert float(first["train/reward/label"]) == pytest.approx(0.75)
    assert float(first["train/reward/mine"]) == pytest.approx(1.25)
    assert float(first["train/reward_std/mine"]) == pytest.approx((3 / 16) ** 0.5)
    assert float(first["train/reward_fault_share"]) == 0


def test_what_a_reward_fails_for_leaves_the_group_and_the_rest_is_learnt_from(train_with, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="medssr"):
        made = train_with({"label": LABEL, "mine": mine("B")})
    first, second = rows(made)
    assert float(first["train/reward"]) == pytest.approx(1.5)
    assert float(first["train/reward_faults/mine/raised"]) == float(second["train/reward_faults/mine/raised"]) == 4
    assert float(first["train/unscored_share"]) == pytest.approx(1 / 4)
    assert float(first["train/reward_fault_share"]) == pytest.approx(4 / 32)
    assert float(first["train/frac_nonzero_std"]) == 0  # the three scored completions are equal
    assert weights(made.path("model")) == weights(tmp_path / "model")
    warnings = [record for record in caplog.records if "reward.mine" in record.getMessage()]
    assert len(warnings) == 1
    assert "ValueError: B" in warnings[0].getMessage()


def test_a_reward_that_always_fails_ends_the_run_with_its_name(train_with):
    with pytest.raises(InputError, match=r"reward\.mine: failed for every completion of 5 steps"):
        train_with({"label": LABEL, "mine": mine("AB")}, num_steps=20)


USELESS = {
    "raises": ("int(choice.letter)", "ValueError: invalid literal for int() with base 10: 'A' [raised]"),
    "takes_no_choice": ("choice.no_such_field", "AttributeError: 'Choice' object has no attribute 'no_such_field'"),
    "none": ("None", "scored no completion of 2 steps in a row, so that nothing is learnt: it returned None"),
    "nan": ("math.nan", "returned nan, expected at most 1e+09 [not_finite]"),
    "text": ("choice.letter", "returned str 'A', expected a number [wrong_type]"),
    "list": ("[1.0] * 8", "returned list [1.0, 1.0"),
}
SOURCE = """import math


class Mine:
    def __init__(self, weight):
        self.weight = weight

    def __call__(self, question, completion, choice):
        return {expression}
"""


@pytest.mark.parametrize("case", USELESS)
def test_a_reward_that_scores_nothing_makes_no_model_and_its_mend_is_trained_with(
    case, train_with, tmp_path, monkeypatch
):
    expression, message = USELESS[case]
    monkeypatch.syspath_prepend(tmp_path)
    module = f"useless_{case}"
    file = tmp_path / f"{module}.py"
    file.write_text(SOURCE.format(expression=expression))
    rewards = {"label": LABEL, "mine": {"_target_": f"{module}.Mine", "weight": 0.5}}
    for _ in range(2):  # the second command resumes from a checkpoint, where there is one
        with pytest.raises(InputError) as caught:
            train_with(rewards)
        assert message in str(caught.value)
        assert f"{module}.Mine, {file}, line {8 if case in ('none', 'nan', 'text', 'list') else 9}" in str(caught.value)
    assert not list(tmp_path.rglob("manifest.json"))
    file.write_text(SOURCE.format(expression="float(choice.letter == 'A')"))
    assert float(rows(train_with(rewards))[0]["train/reward/mine"]) == pytest.approx(0.75)


def test_a_reward_that_cannot_be_made_is_told_before_anything_is_trained(train_with, tmp_path):
    with pytest.raises(InputError, match=r"reward\.mine"):
        train_with({"mine": {"_target_": "support.user_rewards.FailsForLetters", "weight": 1.0}})
    assert not list((tmp_path / "artifacts" / "train").glob("*/metrics.csv"))
