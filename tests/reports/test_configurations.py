"""Configurations: what is one, its interval, its difference, its cost."""

from __future__ import annotations

import csv

import pytest
from support.studies import write_manifest, write_pipeline_run

from medssr.errors import InputError
from medssr.reports.configuration_report import latex_table, wide_configurations, write_configurations
from medssr.reports.configuration_table import configuration_table
from medssr.reports.costs import run_cost
from medssr.reports.study_runs import read_runs
from medssr.reports.summary import markdown_table
from medssr.reports.swept import sweeps


@pytest.fixture
def runs(tmp_path):
    return read_runs(
        write_pipeline_run(tmp_path, "alpha", alpha, seed) for alpha in (0.0, 0.5, 1.0) for seed in (1, 2, 3)
    )


def test_runs_that_differ_in_their_seed_are_one_configuration(runs):
    table = configuration_table(runs)
    assert [(each.name, each.seeds) for each in table.configurations] == [
        (f"rare_share={alpha}", ["1", "2", "3"]) for alpha in (0.0, 0.5, 1.0)
    ]


def test_settings_beyond_the_record_tell_configurations_apart(tmp_path):
    runs = read_runs(
        write_pipeline_run(tmp_path, None, 0.5, 1, f"grpo.beta={beta}", share=share)
        for beta, share in ((0.0, 0.5), (0.1, 0.6))
    )
    assert [each.name for each in configuration_table(runs).configurations] == [
        "beta=0.0",
        "beta=0.1",
    ]


def test_the_mean_is_over_seeds_and_lies_in_its_interval(runs):
    table = configuration_table(runs)
    (row,) = [row for row in table.of("toy", "all") if row.configuration == "rare_share=1.0"]
    accuracies = [run.record.models[-1].benchmarks["toy"].slices["all"].accuracy.value for run in runs[6:]]
    assert row.accuracy == pytest.approx(sum(accuracies) / 3)
    assert row.low < row.accuracy < row.high
    assert (row.num_seeds, row.num_questions) == (3, 40)


def test_the_difference_is_from_the_chosen_baseline(runs):
    table = configuration_table(runs, "synthesis.rare_share=0.5")
    rows = {row.configuration: row for row in table.of("toy", "all")}
    assert rows["rare_share=0.5"].difference is None
    gain = rows["rare_share=1.0"].accuracy - rows["rare_share=0.5"].accuracy
    assert rows["rare_share=1.0"].difference == pytest.approx(gain)
    assert rows["rare_share=0.0"].difference_high < rows["rare_share=1.0"].difference_low
    assert {row.baseline for row in table.rows} == {"rare_share=0.5"}


@pytest.mark.parametrize(
    "baseline", ["beta=0.1,rare_share=0.5", "rare_share=0.5, beta=0.1", "grpo.beta=0.1,synthesis.rare_share=0.5"]
)
def test_a_baseline_is_named_by_short_or_full_settings(tmp_path, baseline):
    runs = read_runs(
        write_pipeline_run(tmp_path, None, alpha, 1, f"grpo.beta={beta}")
        for alpha in (0.0, 0.5)
        for beta in ("0.0", "0.1")
    )
    assert configuration_table(runs, baseline).baseline == "beta=0.1,rare_share=0.5"
    with pytest.raises(InputError, match=r"'beta=0\.1' names 2 of them"):
        configuration_table(runs, "beta=0.1")


def test_one_seed_twice_is_no_second_seed(tmp_path):
    runs = read_runs(write_pipeline_run(tmp_path / place, None, 0.5, 1) for place in "ab")
    configurations = configuration_table(runs).configurations
    assert [(each.name, each.seeds) for each in configurations] == [
        ("synthesis.rare_share=0.5", ["1"]),
        ("synthesis.rare_share=0.5 (2)", ["1"]),
    ]


def test_what_changes_no_result_makes_no_other_configuration(tmp_path):
    folders = [write_pipeline_run(tmp_path, "a", 0.5, 1), write_pipeline_run(tmp_path, "b", 0.5, 2, "logger=csv")]
    (configuration,) = configuration_table(read_runs(folders)).configurations
    assert (configuration.name, configuration.seeds) == ("synthesis.rare_share=0.5", ["1", "2"])


def test_a_table_has_a_column_for_each_setting_and_says_what_it_is(tmp_path):
    runs = read_runs(
        write_pipeline_run(tmp_path, None, alpha, 1, f"model={model}")
        for alpha in (0.0, 0.5)
        for model in ("tiny_qwen3", "tiny_llama")
    )
    table = configuration_table(runs)
    wide = wide_configurations(table)
    assert wide.headings == ["model", "rare_share"]
    assert [row.labels for row in wide.rows][:2] == [["tiny_qwen3", "0.0"], ["tiny_llama", "0.0"]]
    assert markdown_table(wide).endswith("\nrare_share: synthesis.rare_share\n")
    assert "% rare_share: synthesis.rare_share\n" in latex_table(wide)
    assert r"tiny\_llama & 0.5 & " in latex_table(wide)
    write_configurations(table, tmp_path)
    with (tmp_path / "configurations.csv").open(encoding="utf-8", newline="") as stream:
        row = next(csv.DictReader(stream))
    assert row["configuration"] == "model=tiny_qwen3,rare_share=0.0"
    assert row["overrides"] == "synthesis.rare_share=0.0 model=tiny_qwen3"


def test_configurations_that_no_setting_tells_apart_have_one_column_of_names(tmp_path):
    runs = read_runs(
        write_pipeline_run(tmp_path / place, None, alpha, 1) for place, alpha in [("a", 0.0), ("b", 0.0), ("c", 1.0)]
    )
    wide = wide_configurations(configuration_table(runs))
    assert wide.headings == ["configuration"]
    assert [row.labels for row in wide.rows] == [["rare_share=0.0"], ["rare_share=0.0 (2)"], ["rare_share=1.0"]]


def test_a_baseline_that_nobody_has_is_answered_with_those_that_there_are(runs):
    with pytest.raises(InputError, match=r"rare_share=9' names none; .*: rare_share=0\.0; rare_share=0\.5"):
        configuration_table(runs, "synthesis.rare_share=9")


def test_a_run_without_its_answers_has_its_own_interval_and_no_difference(runs):
    folder = runs[3].last_evaluation
    (folder / "predictions-toy.jsonl").unlink()
    table = configuration_table([runs[0], runs[3]])
    assert table.of("toy", "all")[1].difference is None
    assert table.of("toy", "all")[1].low is not None
    assert "predictions-toy.jsonl" in table.left_out[0].reason


def test_the_cost_of_a_run_is_that_of_its_steps(tmp_path):
    folder = write_pipeline_run(tmp_path, None, 0.5, 1)
    (run,) = read_runs([folder])
    cost = run_cost(run)  # an evaluation of 0.1 hours; training of max(0.2, 11 rows of 72 s)
    assert (cost.gpu_hours, cost.train_tokens) == (0, 1100)
    assert cost.cpu_hours == pytest.approx(0.1 + 11 * 72 / 3600)
    write_manifest(run.last_evaluation, "evaluate", seconds=360, gpus=("H200", "H200"))
    assert run_cost(run).gpu_hours == pytest.approx(0.2)
    (run.last_evaluation / "manifest.json").unlink()
    assert run_cost(run).gpu_hours is None


def test_what_is_swept_is_a_number_that_varies(tmp_path):
    runs = read_runs(
        write_pipeline_run(tmp_path, None, alpha, seed, f"model={model}")
        for alpha in (0.0, 1.0)
        for seed in (1, 2)
        for model in ("tiny_qwen3", "tiny_llama")
    )
    (sweep,) = sweeps(configuration_table(runs))
    assert (sweep.key, sweep.name) == ("synthesis.rare_share", "rare_share")
    assert set(sweep.values.values()) == {0.0, 1.0}
    assert set(sweep.groups.values()) == {"model=tiny_qwen3", "model=tiny_llama"}


def test_a_run_that_does_not_name_the_key_has_the_value_that_it_was_composed_with(tmp_path):
    folders = [write_pipeline_run(tmp_path, None, alpha, 1) for alpha in (0.25, 0.5)]
    text = (folders[1] / "results.json").read_text().replace('"synthesis.rare_share=0.5", ', "")
    (folders[1] / "results.json").write_text(text)
    (sweep,) = sweeps(configuration_table(read_runs(folders)))
    assert sorted(sweep.values.values()) == [0.25, 0.5]
