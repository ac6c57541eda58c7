"""Tests the tables of experiments/comparators against numbers worked out by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.helpers import toy_question

sys.path.insert(0, str(Path(__file__).parents[1] / "experiments" / "comparators"))

from measures import Measured, sampled_in_a_step, step_of_collapse
from tables import comparison_table, slice_columns, training_table

NUM_RARE, NUM_COMMON = 40, 20
QUESTIONS = [
    toy_question(number, entity=f"disease {number}", is_rare=number < NUM_RARE, provenance={"relation": "gene"})
    for number in range(NUM_RARE + NUM_COMMON)
]
ASKED = {(f"disease {number}", "gene") for number in range(10, NUM_RARE)}


def measured(method, seed, rare, tokens=0.0, **curves):
    """A run that has the first `rare` rare questions right at the end, half as many after stage 1, all common ones."""
    right = lambda number: np.array([1.0] * number + [0.0] * (NUM_RARE - number) + [1.0] * NUM_COMMON)  # noqa: E731
    accuracies = {"base": right(0), "one": right(rare // 2), "two": right(rare)}
    sampled = {"base": 0.0, "one": tokens, "two": 2 * tokens}
    series = {f"train/{name}": pd.Series(values, dtype=float) for name, values in curves.items()}
    return Measured(method, "tiny", seed, 2e-4, QUESTIONS, accuracies, sampled, series, 10.0 * seed)


def test_slices_are_rare_those_never_asked_and_common():
    columns = slice_columns(QUESTIONS, ASKED)
    assert columns["rare"] == list(range(40))
    assert columns["never asked"] == list(range(10))
    assert columns["common"] == list(range(40, 60))


@pytest.mark.slow
def test_differences_are_from_medssr_with_intervals_that_hold_for_all_methods():
    runs = [
        measured(name, seed, rare) for name, rare in (("medssr", 20), ("ttrl", 10), ("rent", 20)) for seed in (1, 2)
    ]
    table = comparison_table(runs, ASKED)
    assert list(table.index) == ["before training", "medssr", "ttrl", "rent"]
    assert table.loc["medssr", "rare, n=40"].startswith("0.500 [")
    assert table.loc["before training", "rare, n=40"] == "0.000 [0.000, 0.000]"
    assert table.loc["ttrl", "rare: difference"].startswith("-0.250 [-0.")
    assert table.loc["rent", "rare: difference"] == "+0.000 [+0.000, +0.000]"
    assert table.loc["medssr", "rare: difference"] == ""
    low, high = (float(text) for text in table.loc["ttrl", "rare: difference"].split("[")[1].rstrip("]").split(", "))
    alone = comparison_table([run for run in runs if run.method != "rent"], ASKED).loc["ttrl", "rare: difference"]
    low_alone, high_alone = (float(text) for text in alone.split("[")[1].rstrip("]").split(", "))
    assert high - low > high_alone - low_alone  # with two comparisons each interval is wider


def test_completions_of_a_second_view_and_of_a_teacher_are_sampled_too():
    plain = {"num_prompts_per_step": 24, "num_generations": 4, "has_permuted_view": False}
    none = {"teacher": None, "distillation": None}
    teacher = {"teacher": {"num_answers": 6}, "distillation": None}
    assert sampled_in_a_step(plain | none) == 96
    assert sampled_in_a_step(plain | none | {"has_permuted_view": True}) == 192
    assert sampled_in_a_step(plain | teacher) == 240
    assert sampled_in_a_step(plain | teacher | {"distillation": {"weight": 1.0}}) == 96  # it reads, and samples nothing


def test_training_is_described_by_its_last_steps():
    label = [0.5] * 10 + [0.8] * 10
    runs = [measured("medssr", seed, 20, tokens=1000.0, label_accuracy=label) for seed in (1, 3)]
    row = training_table(runs, ASKED).loc["medssr"]
    assert (row["rare after stage 1"], row["label accuracy"], row["reward accuracy"]) == ("0.250", "0.800", "")
    assert (row["sampled tokens"], row["seconds"], row["collapse at step"]) == ("2,000", "20", "-, -")


@pytest.mark.parametrize(
    ("accuracies", "step"),
    [
        ([], None),
        ([0.6] * 3, None),  # fewer steps than a mean has
        ([0.6] * 20, None),
        ([0.6] * 8 + [0.3] * 8, 9),  # the mean of steps 5 to 9 is 0.48, the first below 0.5
        ([0.6] * 8 + [0.3] * 4 + [0.6] * 8, None),  # it recovers
    ],
)
def test_a_collapse_is_a_fall_that_stays(accuracies, step):
    assert step_of_collapse(accuracies) == step
