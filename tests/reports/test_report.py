"""The report of runs: what is read of a run, the tables and figures of the page, and its files."""

import csv
import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from rich.console import Console
from support.helpers import toy_question

from medssr.errors import InputError
from medssr.evaluation.comparison import compare, corrected
from medssr.evaluation.scoring import RARE_ASKED, Prediction, score
from medssr.reports.comparison import compare_groups
from medssr.reports.pages import console_scores, write_report
from medssr.reports.plots import shorten
from medssr.reports.render import markdown
from medssr.reports.runs import read_run
from medssr.reports.tables import (
    accuracy_table,
    config_table,
    label_table,
    model_difference_table,
    scores,
    seed_table,
)
from medssr.reports.wandb_steps import label_summary

pytestmark = pytest.mark.slow

QUESTIONS = [toy_question(i, "AB"[i % 2], is_rare=i < 4) for i in range(10)]
EXTRA = {RARE_ASKED: {"q0", "q1"}}


def predictions(num_right):
    """The first `num_right` questions are answered right twice, the next one once, the rest never."""
    right = [2] * num_right + [1] + [0] * len(QUESTIONS)
    return [
        Prediction(question.id, [question.answer] * count + [None] * (2 - count), [""] * 2)
        for question, count in zip(QUESTIONS, right, strict=False)
    ]


def results(name="first", **changes):
    base, trained = predictions(3), predictions(6)
    record = {
        "run": name,
        "overrides": ["model=tiny_llama", "seed=1"],
        "config": {"model": "tiny_llama", "seed": 1, "rare_share": 0.5},
        "models": [
            {"name": "base", "benchmarks": {"builtin": dataclasses.asdict(score(QUESTIONS, base, EXTRA))}},
            {"name": "stage1_selfsup", "benchmarks": {"builtin": dataclasses.asdict(score(QUESTIONS, trained, EXTRA))}},
        ],
        "paired": [
            {"from": "base", "to": "stage1_selfsup", "benchmark": "builtin", "slice": name} | dataclasses.asdict(each)
            for name, each in corrected({"builtin": compare(QUESTIONS, base, trained, EXTRA)})["builtin"].items()
        ],
        "labels": {
            "num_questions": 100,
            "num_kept": 60,
            "outcomes": {"kept": 60, "tied": 10, "below_band": 15, "above_band": 10, "no_valid_vote": 5},
            "bands": [
                {"low": 0.5, "high": 0.75, "n": 40, "accuracy": 0.6},
                {"low": 0.75, "high": 1.0, "n": 20, "accuracy": None},
            ],
        },
        "training": [{"stage": "stage1_selfsup", "metrics_file": "metrics.csv"}],
        "artifacts": {"synthesize": "artifacts/synthesize/abc"},
    }
    return record | changes


def write_run(folder, record, metrics="step,train/reward,train/label_accuracy\n0,0.25,\n0,,0.5\n1,0.5,\n2,0.75,\n"):
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(record), encoding="utf-8")
    (folder / "metrics.csv").write_text(metrics, encoding="utf-8")
    return folder


@pytest.fixture
def run(tmp_path):
    return read_run(write_run(tmp_path / "run", results()))


def report_of(runs, folder):
    return write_report(compare_groups(runs), folder)


def runs_with(tmp_path, *configs):
    return [
        read_run(write_run(tmp_path / str(number), results(f"run {number}", config=config)))
        for number, config in enumerate(configs)
    ]


def test_a_run_is_read_whole(run):
    assert run.name == "first"
    assert [model.name for model in run.record.models] == ["base", "stage1_selfsup"]
    assert run.record.models[0].benchmarks["builtin"] == score(QUESTIONS, predictions(3), EXTRA)
    assert run.record.paired[0].origin == "base"
    assert run.curves["stage1_selfsup"]["train/reward"].to_dict() == {0: 0.25, 1: 0.5, 2: 0.75}


def test_a_run_without_labels_and_training_is_a_run(tmp_path):
    record = {key: value for key, value in results().items() if key in ("run", "overrides", "config", "models")}
    run = read_run(write_run(tmp_path / "run", record))
    page = report_of([run], tmp_path / "report").read_text(encoding="utf-8")
    assert "Pseudo-labels" not in page
    assert "Training curves" not in page
    assert "Differences" not in page


@pytest.mark.parametrize(("valid_share", "shown"), [(None, None), (0.93, "93.0%"), (0.23, "23.0%")])
def test_the_share_of_valid_votes_stands_beside_the_outcomes(tmp_path, valid_share, shown):
    outcomes = {"kept": 60, "tied": 10, "below_band": 15, "few_valid_votes": 15}
    labels = results()["labels"] | {"outcomes": outcomes, "valid_share": valid_share}
    run = read_run(write_run(tmp_path / "run", results(labels=labels)))
    table = label_table([run])
    assert table["few valid votes"].tolist() == ["15 (15.0%)"]
    assert table.get("valid votes", default=pd.Series([None])).tolist() == [shown]
    page = report_of([run], tmp_path / "report").read_text(encoding="utf-8")
    assert ("most votes have no letter" in page) == (valid_share == 0.23)
    summary = label_summary(run.record.labels)
    assert summary.get("labels/valid_share") == valid_share


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run": 3}, 'field "run": found 3, expected a valid string'),
        ({"models": []}, 'field "models": is empty'),
        ({"models": [{"benchmarks": {}}]}, r'field "models\[0\].name": is missing'),
        ({"models": [{"name": "base", "benchmarks": {}}] * 2}, "expected unique names"),
        ({"models": {"base": {}}}, 'field "models": found .* expected a valid array'),
        ({"paired": [{"from": "a", "to": "b", "benchmark": "c", "slice": "d", "difference": "?"}]}, "a valid number"),
        ({"paired": [{"from": "a", "to": "b", "benchmark": "c", "slice": "d", "difference": True}]}, "found True"),
        (
            {"labels": {"num_questions": 9, "num_kept": 1, "outcomes": {"kept": 1, "tied": 7}, "bands": []}},
            'field "labels.outcomes": the counts add up to 8, not to num_questions = 9',
        ),
        (
            {"labels": {"num_questions": 8, "num_kept": 2, "outcomes": {"kept": 1, "tied": 7}, "bands": []}},
            'field "labels.outcomes.kept": found 1, expected num_kept = 2',
        ),
        ({"training": [{"stage": "s", "metrics_file": "gone.csv"}]}, "gone.csv: there is no such file"),
    ],
)
def test_a_record_of_another_form_names_its_field(tmp_path, change, message):
    folder = write_run(tmp_path / "run", results(**change))
    with pytest.raises(InputError, match=message):
        read_run(folder)


def test_a_score_that_is_no_number_is_named_by_its_path(tmp_path):
    record = results()
    record["models"][1]["benchmarks"]["builtin"]["slices"]["rare"]["accuracy"]["low"] = float("nan")
    with pytest.raises(InputError, match=re.escape("models[1].benchmarks.builtin.slices.rare.accuracy.low")):
        read_run(write_run(tmp_path / "run", record))


@pytest.mark.parametrize("content", [None, "", '{"run": ', "[]"])
def test_a_folder_without_results_is_an_input_error(tmp_path, content):
    if content is not None:
        (tmp_path / "results.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"results\.json"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("train/reward,loss\n0,1\n", r'field "step": is no column; the columns are train/reward, loss'),
        ("step,train/reward\n0,0.5\n1,high\n", r"line 3, field \"train/reward\": found 'high'"),
        ("step,train/reward\n,0.5\n", r"line 2, field \"step\": found ''"),
    ],
)
def test_broken_metrics_are_named(tmp_path, metrics, message):
    with pytest.raises(InputError, match=message):
        read_run(write_run(tmp_path / "run", results(), metrics))


@pytest.mark.parametrize("metric", ["train/reward", "train/loss"])
def test_a_stage_of_any_method_has_curves_of_what_it_logged(tmp_path, metric):
    record = results(training=[{"stage": "s", "metrics_file": "metrics.csv", "method": "MyMethod"}])
    curves = read_run(write_run(tmp_path / "run", record, f"step,{metric}\n0,1\n")).curves
    assert {stage: list(logged) for stage, logged in curves.items()} == ({"s": [metric]} if "reward" in metric else {})


def test_the_scores_hold_every_score_with_its_denominator(run):
    table = scores([run])
    assert list(zip(table["model"], table["slice"], strict=True))[:4] == [
        ("base", "all"),
        ("base", "rare"),
        ("base", "common"),
        ("base", RARE_ASKED),
    ]
    assert len(table) == 8
    first = table.iloc[0]
    assert first["accuracy"] == pytest.approx(0.35)
    assert (first["num_questions"], first["num_samples_total"], first["num_invalid"]) == (10, 20, 13)


def test_the_report_writes_every_number_once_more_as_files(run, tmp_path):
    page = report_of([run], tmp_path / "report")
    with (page.parent / "summary.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["accuracy"]) for row in rows] == list(scores([run])["accuracy"])
    markdown_page = (page.parent / "summary.md").read_text(encoding="utf-8")
    assert "| base | 0.875 [0.50, 1.00] n=4 |" in markdown_page
    assert "| base → stage1_selfsup | +0.125 [+0.000, +0.500] p=1.000 n=4 |" in markdown_page


def test_comparisons_hold_the_differences_of_the_results(run, tmp_path):
    page = report_of([run], tmp_path / "report")
    with (page.parent / "comparisons.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["difference"]]
    pairs = results()["paired"]
    assert [(row["baseline_model"], row["model"], row["slice"]) for row in rows] == [
        (pair["from"], pair["to"], pair["slice"]) for pair in pairs
    ]
    for name in ("difference", "low", "high", "p_value", "p_adjusted", "mcnemar_p_value", "num_won", "num_lost", "n"):
        assert [float(row[name]) for row in rows] == [pair[name] for pair in pairs], name


def test_figures_exist_are_shown_and_are_not_blank(run, tmp_path):
    page = report_of([run], tmp_path / "report")
    shown = set(re.findall(r'<img src="([^"]+)"', page.read_text(encoding="utf-8")))
    assert shown == {path.name for path in page.parent.glob("*.png")}
    assert shown == {
        "accuracy_0_builtin_rare.png",
        "accuracy_0_builtin_common.png",
        "training_0_stage1_selfsup.png",
        "labels_0.png",
        "calibration_0_builtin.png",
    }
    for name in shown:
        pixels = imread(page.parent / name)
        assert np.mean(pixels[..., :3].min(axis=-1) < 0.9) > 0.003, name


def test_the_page_needs_nothing_from_elsewhere_and_names_n(run, tmp_path):
    page = report_of([run], tmp_path / "report").read_text(encoding="utf-8")
    assert not re.search(r"https?://|src=\"(?!\w+\.png)|@import", page)
    assert page.count("<script") == 1  # that of the page itself
    assert 'name="viewport"' in page
    for text in ("n=4", "13 of 20 (65.0%)", ">60 (60.0%)<", "model=tiny_llama seed=1", "rare_share: 0.5"):
        assert text in page


def test_the_same_runs_give_the_same_bytes(run, tmp_path):
    first, second = report_of([run], tmp_path / "a").parent, report_of([run], tmp_path / "b").parent
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_text_of_a_run_is_escaped(tmp_path):
    evil = '<script>alert("x")</script>|$\\frac$'
    record = results(evil, overrides=[f"note={evil}"], config={"note": evil, evil: 1}, artifacts={evil: evil})
    record["models"][1]["name"] = evil
    record["models"][1]["benchmarks"] = {f"../{evil}": record["models"][1]["benchmarks"]["builtin"]}
    record["training"] = [{"stage": f"../{evil}", "metrics_file": "metrics.csv"}]
    folders = [write_run(tmp_path / "one", record), write_run(tmp_path / "two", results())]
    page = report_of([read_run(folder) for folder in folders], tmp_path / "report" / "here")
    for name in ("index.html", "summary.md"):
        text = (page.parent / name).read_text(encoding="utf-8")
        assert "<script>alert" not in text
        assert "&lt;script" in text
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["here"]


def test_a_benchmark_that_is_not_divided_is_shown_as_a_whole(tmp_path):
    questions = [dataclasses.replace(question, is_rare=None) for question in QUESTIONS]
    benchmarks = {"medqa": dataclasses.asdict(score(questions, predictions(3)))}
    record = results(models=[{"name": "base", "benchmarks": benchmarks}], paired=[], labels=None, training=[])
    run = read_run(write_run(tmp_path / "run", record))
    assert list(accuracy_table(scores([run]))) == ["all"]
    page = report_of([run], tmp_path / "report")
    assert {path.name for path in page.parent.glob("acc*.png")} == {"accuracy_0_medqa_all.png"}


def test_runs_of_one_name_stay_apart(tmp_path):
    runs = [read_run(write_run(tmp_path / name, results("same"))) for name in ("a", "b")]
    table = accuracy_table(scores(runs))
    assert list(table.index) == [(name, model) for name in ("same", "same (2)") for model in ("base", "stage1_selfsup")]
    assert report_of(runs, tmp_path / "report").exists()


def test_runs_that_differ_in_their_seed_alone_are_averaged(tmp_path):
    runs = runs_with(tmp_path, {"alpha": 0.5, "seed": 1}, {"alpha": 0.5, "seed": 2}, {"alpha": 1.0, "seed": 1})
    better = dataclasses.replace(runs[1].record.models[0], benchmarks={"builtin": score(QUESTIONS, predictions(7))})
    models = [better, runs[1].record.models[1]]
    runs[1] = dataclasses.replace(runs[1], record=dataclasses.replace(runs[1].record, models=models))
    table = seed_table(compare_groups(runs))
    assert list(table) == ["rare", "common", RARE_ASKED]
    first = table.loc["base"]
    # rare: 0.875 and 1, common: 0 and 3.5 / 6
    assert first["rare"] == "0.938\nsd 0.088\n2 seeds"
    assert first["common"] == "0.292\nsd 0.412\n2 seeds"
    assert first[RARE_ASKED] == "-"  # only one seed has that slice
    assert "Mean over seeds" in report_of(runs, tmp_path / "report").read_text(encoding="utf-8")


def test_one_seed_twice_is_no_second_seed(tmp_path):
    assert seed_table(compare_groups(runs_with(tmp_path, {"seed": 1}, {"seed": 1}))).empty


def test_settings_that_differ_are_shown(tmp_path):
    runs = runs_with(tmp_path, {"seed": 1, "alpha": 0.5, "beta": 0}, {"seed": 1, "alpha": 1.0, "stages": ["a"]})
    table = config_table(runs)
    assert list(table) == ["alpha", "beta", "stages"]
    assert table.values.tolist() == [["0.5", "0", "-"], ["1.0", "-", '["a"]']]


def test_differences_within_a_run_have_their_number_of_questions(run):
    table = model_difference_table(compare_groups([run]))
    assert list(table.index) == ["base → stage1_selfsup"]
    assert [cell.split("\n")[-1] for cell in table.iloc[0]] == ["n=4", "n=6", "n=2"]


def test_values_that_are_not_finite_are_counted_below_the_curve(tmp_path):
    metrics = "step,train/reward\n0,0.5\n1,nan\n2,inf\n3,1\n"
    run = read_run(write_run(tmp_path / "run", results(), metrics))
    page = report_of([run], tmp_path / "report").read_text(encoding="utf-8")
    assert "2 logged values are not finite numbers and are left out" in page


def test_markdown_escapes_what_would_break_a_table(tmp_path):
    runs = [read_run(write_run(tmp_path / name, results(f"a|b\n{name}"))) for name in ("x", "y")]
    lines = markdown(accuracy_table(scores(runs))).splitlines()
    assert len(lines) == 6
    assert lines[2].startswith("| a\\|b x | base | ")


@pytest.mark.parametrize("width", [80, 160])
def test_the_console_table_keeps_each_part_of_a_cell_whole(run, width):
    console = Console(width=width)
    with console.capture() as captured:
        console.print(console_scores([run]))
    text = captured.get()
    for part in ("rare", "common", "base", "stage1_selfsup", "0.875", "[0.50, 1.00]", "n=4", "n=6"):
        assert part in text
    if width == 160:
        assert "0.875 [0.50, 1.00] n=4" in text


def test_a_console_table_of_several_runs_names_each_run_once(tmp_path):
    runs = runs_with(tmp_path, {"seed": 1}, {"seed": 2})
    console = Console(width=160)
    with console.capture() as captured:
        console.print(console_scores(runs))
    assert captured.get().count("run 0") == captured.get().count("run 1") == 1


@pytest.mark.parametrize(("length", "expected"), [(7, "abcdefg"), (6, "abc…fg"), (5, "ab…fg")])
def test_long_names_lose_their_middle(length, expected):
    assert shorten("abcdefg", length) == expected
