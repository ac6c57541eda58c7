"""Groups of runs: which runs are one, their intervals over seeds, differences from a baseline, costs and sweeps."""

from __future__ import annotations

import csv
import dataclasses
import json
import statistics
from math import isnan

import pandas as pd
import pytest
from support.studies import asked, write_evaluation_of, write_manifest, write_pipeline_run

from medssr.errors import InputError
from medssr.reports.comparison import compare_groups
from medssr.reports.groups import sweep_axes
from medssr.reports.metrics import run_cost
from medssr.reports.pages import write_report
from medssr.reports.render import latex, markdown
from medssr.reports.studies import read_runs
from medssr.reports.tables import group_table, model_difference_table, seed_table, setting_note
from medssr.statistics import crossed_bootstrap_interval

pytestmark = pytest.mark.slow


@pytest.fixture
def runs(tmp_path):
    return read_runs(
        write_pipeline_run(tmp_path, "alpha", alpha, seed) for alpha in (0.0, 0.5, 1.0) for seed in (1, 2, 3)
    )


def rows_of(comparison, slice_name="all"):
    """The rows of the groups' last models by group."""
    table = comparison.last_models()
    return table[table["slice"] == slice_name].set_index("group")


def test_runs_that_differ_in_their_seed_are_one_group(runs):
    assert [(group.name, group.seeds) for group in compare_groups(runs).groups] == [
        (f"rare_share={alpha}", ["1", "2", "3"]) for alpha in (0.0, 0.5, 1.0)
    ]


def test_settings_beyond_the_record_tell_groups_apart(tmp_path):
    runs = read_runs(
        write_pipeline_run(tmp_path, None, 0.5, 1, f"grpo.beta={beta}", share=share)
        for beta, share in ((0.0, 0.5), (0.1, 0.6))
    )
    assert [group.name for group in compare_groups(runs).groups] == ["beta=0.0", "beta=0.1"]


def test_the_mean_is_over_seeds_and_lies_in_its_interval(runs):
    row = rows_of(compare_groups(runs)).loc["rare_share=1.0"]
    accuracies = [run.record.models[-1].benchmarks["toy"].slices["all"].accuracy.value for run in runs[6:]]
    assert row["accuracy"] == pytest.approx(sum(accuracies) / 3)
    assert row["seed_deviation"] == pytest.approx(statistics.stdev(accuracies))
    assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]
    assert (row["num_seeds"], row["num_questions"]) == (3, 40)


def test_intervals_over_seeds_and_questions_are_the_crossed_bootstrap(runs):
    """The numbers of `crossed_bootstrap_interval`, of scores that are read and put together by hand."""

    def accuracies(three_runs):
        matrix = []
        for run in three_runs:
            lines = (run.evaluation("stage1") / "predictions-toy.jsonl").read_text().splitlines()
            letters = {(line := json.loads(text))["question_id"]: [each["letter"] for each in line["answers"]]
                       for text in lines}  # fmt: skip
            matrix.append([letters[question.id].count(question.answer) / 2 for question in asked()])
        return matrix

    rows = rows_of(compare_groups(runs, seed=3))
    clusters = [question.content_key for question in asked()]
    last, first = accuracies(runs[6:]), accuracies(runs[:3])
    interval = crossed_bootstrap_interval(last, clusters, seed=3)
    assert tuple(rows.loc["rare_share=1.0", ["accuracy_low", "accuracy_high"]]) == (interval.low, interval.high)
    interval = crossed_bootstrap_interval(last, clusters, minus=first, seed=3)
    assert tuple(rows.loc["rare_share=1.0", ["low", "high"]]) == (interval.low, interval.high)


def test_models_of_a_group_are_compared_over_its_seeds(tmp_path):
    folders = [write_pipeline_run(tmp_path, None, 0.5, seed) for seed in (1, 2)]
    for seed, folder in enumerate(folders):
        base = write_evaluation_of(tmp_path / "base" / str(seed), "tiny", 0.2, seed)
        record = json.loads((folder / "results.json").read_text())
        record["models"].insert(0, {"name": "base", "benchmarks": {"toy": dataclasses.asdict(base["toy"])}})
        record["artifacts"]["evaluate base"] = str(tmp_path / "base" / str(seed))
        (folder / "results.json").write_text(json.dumps(record))
    comparison = compare_groups(read_runs(folders))
    rows = comparison.differences_within_groups()
    assert list(zip(rows["baseline_model"], rows["model"], strict=True)) == [("base", "stage1")] * 3
    accuracy = comparison.table.drop_duplicates(["model", "slice"]).set_index(["model", "slice"])["accuracy"]
    for row in rows.itertuples():
        assert row.difference == pytest.approx(accuracy["stage1", row.slice] - accuracy["base", row.slice], abs=1e-6)
        assert row.low < row.difference < row.high
        assert isnan(row.p_value)
    table = model_difference_table(comparison)
    assert list(table.index) == ["base → stage1"]
    assert list(seed_table(comparison).index) == ["base", "stage1"]


def test_groups_of_several_seeds_have_no_test_over_questions_alone(runs):
    table = compare_groups(runs).differences_from_baseline()
    assert len(table) == 6
    assert table[["p_value", "p_adjusted", "num_won", "mcnemar_p_value"]].isna().all(axis=None)


def test_the_difference_is_from_the_chosen_baseline(runs):
    rows = rows_of(compare_groups(runs, "synthesis.rare_share=0.5"))
    assert isnan(rows.loc["rare_share=0.5", "difference"])
    gain = rows.loc["rare_share=1.0", "accuracy"] - rows.loc["rare_share=0.5", "accuracy"]
    assert rows.loc["rare_share=1.0", "difference"] == pytest.approx(gain)
    assert rows.loc["rare_share=0.0", "high"] < rows.loc["rare_share=1.0", "low"]
    assert set(rows["baseline"].dropna()) == {"rare_share=0.5"}


@pytest.mark.parametrize(
    "baseline", ["beta=0.1,rare_share=0.5", "rare_share=0.5, beta=0.1", "grpo.beta=0.1,synthesis.rare_share=0.5"]
)
def test_a_baseline_is_named_by_short_or_full_settings(tmp_path, baseline):
    runs = read_runs(
        write_pipeline_run(tmp_path, None, alpha, 1, f"grpo.beta={beta}")
        for alpha in (0.0, 0.5)
        for beta in ("0.0", "0.1")
    )
    assert compare_groups(runs, baseline).baseline.name == "beta=0.1,rare_share=0.5"
    with pytest.raises(InputError, match=r"'beta=0\.1' names 2 of them"):
        compare_groups(runs, "beta=0.1")


def test_one_seed_twice_is_no_second_seed(tmp_path):
    runs = read_runs(write_pipeline_run(tmp_path / name, None, 0.5, 1) for name in "ab")
    assert [(group.name, group.seeds) for group in compare_groups(runs).groups] == [
        ("synthesis.rare_share=0.5", ["1"]),
        ("synthesis.rare_share=0.5 (2)", ["1"]),
    ]


def test_what_changes_no_result_makes_no_other_group(tmp_path):
    folders = [write_pipeline_run(tmp_path, "a", 0.5, 1), write_pipeline_run(tmp_path, "b", 0.5, 2, "logger=csv")]
    (group,) = compare_groups(read_runs(folders)).groups
    assert (group.name, group.seeds) == ("synthesis.rare_share=0.5", ["1", "2"])


def test_a_table_has_a_column_for_each_setting_and_says_what_it_is(tmp_path):
    runs = read_runs(
        write_pipeline_run(tmp_path, None, alpha, 1, f"model={model}")
        for alpha in (0.0, 0.5)
        for model in ("tiny_qwen3", "tiny_llama")
    )
    comparison = compare_groups(runs)
    table, note = group_table(comparison), setting_note(comparison)
    assert table.index.names == ["model", "rare_share"]
    assert list(table.index)[:2] == [("tiny_qwen3", "0.0"), ("tiny_llama", "0.0")]
    assert markdown(table, note).endswith("\nrare_share: synthesis.rare_share\n")
    assert "% rare_share: synthesis.rare_share\n" in latex(table, note)
    assert r"tiny\_llama & 0.5 & " in latex(table, note)
    write_report(comparison, tmp_path / "report")
    with (tmp_path / "report" / "comparisons.csv").open(encoding="utf-8", newline="") as stream:
        row = next(csv.DictReader(stream))
    assert row["group"] == "model=tiny_qwen3,rare_share=0.0"
    assert row["overrides"] == "synthesis.rare_share=0.0 model=tiny_qwen3"


def test_latex_escapes_every_special_character():
    table = pd.DataFrame({"a_b": ["100% & $x$"]}, index=pd.Index(["#{~^\\}"], name="r&d"))
    header, row = [line for line in latex(table, "one\ntwo").splitlines() if line.endswith(r"\\")]
    assert header == r"r\&d & a\_b \\"
    assert row == r"\#\{\textasciitilde \textasciicircum \textbackslash \} & 100\% \& \$x\$ \\"
    assert "% one two\n" in latex(table, "one\ntwo")


def test_a_setting_may_have_the_name_of_a_column(tmp_path):
    runs = read_runs(write_pipeline_run(tmp_path, None, 0.5, 1, f"seeds={name}") for name in ("builtin", "medqa"))
    comparison = compare_groups(runs)
    for text in (markdown(group_table(comparison)), latex(group_table(comparison))):
        assert "seeds" in text
        assert "medqa" in text


def test_groups_that_no_setting_tells_apart_have_one_column_of_names(tmp_path):
    runs = read_runs(
        write_pipeline_run(tmp_path / name, None, alpha, 1) for name, alpha in [("a", 0.0), ("b", 0.0), ("c", 1.0)]
    )
    table = group_table(compare_groups(runs))
    assert table.index.names == ["runs"]
    assert list(table.index.get_level_values("runs")) == ["rare_share=0.0", "rare_share=0.0 (2)", "rare_share=1.0"]


def test_a_baseline_that_nobody_has_is_answered_with_those_that_there_are(runs):
    with pytest.raises(InputError, match=r"rare_share=9' names none; .*: rare_share=0\.0; rare_share=0\.5"):
        compare_groups(runs, "synthesis.rare_share=9")


def test_a_run_without_its_answers_has_the_interval_of_its_results_and_no_difference(runs):
    (runs[3].evaluation("stage1") / "predictions-toy.jsonl").unlink()
    comparison = compare_groups([runs[0], runs[3]])
    row = rows_of(comparison).loc["rare_share=0.5"]
    assert isnan(row["difference"])
    assert not isnan(row["accuracy_low"])
    assert "predictions-toy.jsonl" in comparison.left_out[0].reason


def test_the_cost_of_a_run_is_that_of_its_steps(tmp_path):
    folder = write_pipeline_run(tmp_path, None, 0.5, 1)
    (run,) = read_runs([folder])
    cost = run_cost(run)  # an evaluation of 0.1 hours; training of max(0.2, 11 rows of 72 s)
    assert (cost.gpu_hours, cost.train_tokens) == (0, 1100)
    assert cost.cpu_hours == pytest.approx(0.1 + 11 * 72 / 3600)
    write_manifest(run.evaluation("stage1"), "evaluate", seconds=360, gpus=("H200", "H200"))
    assert run_cost(run).gpu_hours == pytest.approx(0.2)
    (run.evaluation("stage1") / "manifest.json").unlink()
    assert run_cost(run).gpu_hours is None


def test_what_is_swept_is_a_number_that_varies(tmp_path):
    runs = read_runs(
        write_pipeline_run(tmp_path, None, alpha, seed, f"model={model}")
        for alpha in (0.0, 1.0)
        for seed in (1, 2)
        for model in ("tiny_qwen3", "tiny_llama")
    )
    comparison = compare_groups(runs)
    (axis,) = sweep_axes(comparison.groups, comparison.setting_names)
    assert (axis.key, axis.name) == ("synthesis.rare_share", "rare_share")
    assert set(axis.values.values()) == {0.0, 1.0}
    assert set(axis.curves.values()) == {"model=tiny_qwen3", "model=tiny_llama"}


def test_a_run_that_does_not_name_the_key_has_the_value_that_it_was_composed_with(tmp_path):
    folders = [write_pipeline_run(tmp_path, None, alpha, 1) for alpha in (0.25, 0.5)]
    text = (folders[1] / "results.json").read_text().replace('"synthesis.rare_share=0.5", ', "")
    (folders[1] / "results.json").write_text(text)
    comparison = compare_groups(read_runs(folders))
    (axis,) = sweep_axes(comparison.groups, comparison.setting_names)
    assert sorted(axis.values.values()) == [0.25, 0.5]
