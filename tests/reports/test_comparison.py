"""Evaluations on disk, compared: differences, tests, what is left out and why, and the page that shows it."""

from __future__ import annotations

import csv
import dataclasses
import re

import pytest
from support.evaluations import PROTOCOL, QUESTIONS, letters, write_run
from support.helpers import toy_question, typed

from medssr.commands.compare import compare, runs_as_override
from medssr.errors import InputError
from medssr.evaluation.comparison import compare as compare_predictions
from medssr.evaluation.results_io import predictions_file
from medssr.evaluation.scoring import Prediction
from medssr.reports.comparison import compare_groups
from medssr.reports.figures import difference_title
from medssr.reports.pages import console_differences, write_report
from medssr.reports.runs import LeftOut, model_name
from medssr.reports.studies import read_runs

pytestmark = pytest.mark.slow


def predictions_of(answers):
    return [Prediction(question.id, answers[question.id], ["x", "x"]) for question in QUESTIONS]


def test_a_run_is_compared_with_the_first_on_each_benchmark(tmp_path):
    first = write_run(tmp_path / "a", "hub/qwen", letters(2), ["one", "two"])
    second = write_run(tmp_path / "b", "hub/llama", letters(10), ["one", "two"])
    comparison = compare_groups([first, second])
    assert comparison.left_out == []
    rows = comparison.differences_from_baseline()
    assert difference_title(rows) == "llama minus qwen"
    plain = compare_predictions(QUESTIONS, predictions_of(letters(2)), predictions_of(letters(10)))["all"]
    rows = rows[rows["slice"] == "all"].set_index("benchmark")
    for benchmark in ("one", "two"):
        row = rows.loc[benchmark]
        assert row["difference"] == pytest.approx(8 / 12, abs=1e-6)
        assert (row["low"], row["high"], row["n"]) == (plain.low, plain.high, plain.n)
        assert (row["num_won"], row["num_lost"], row["p_value"]) == (8, 0, plain.p_value)
        assert row["p_adjusted"] == pytest.approx(2 * plain.p_value)
        assert row["mcnemar_p_adjusted"] == pytest.approx(2 * plain.mcnemar_p_value)


def test_examples_show_a_right_answer_beside_a_wrong_one(tmp_path):
    before, after = letters(4), letters(4)
    before["q9"], after["q9"] = ["A", "A"], ["B", "A"]  # won by one sample of two
    after["q0"] = [None, "B"]  # lost by both
    first = write_run(tmp_path / "a", "qwen", before, text="first says {}")
    second = write_run(tmp_path / "b", "llama", after, text="second says {}")
    won, lost = compare_groups([first, second], num_examples=3).examples["llama"]
    assert (won.question.id, won.is_won, won.first.text, won.second.text) == (
        "q9",
        True,
        "first says A",
        "second says B",
    )
    assert (lost.question.id, lost.is_won, lost.first.text) == ("q0", False, "first says A")
    assert (lost.second.letter, lost.second.text, lost.second.num_right) == (None, "second says None", 0)
    assert compare_groups([first, second], num_examples=0).examples == {}


def test_long_answers_are_shown_with_their_end(tmp_path):
    first = write_run(tmp_path / "a", "qwen", letters(2))
    second = write_run(tmp_path / "b", "llama", letters(3), text="start" + "x" * 9_000 + "the end {}")
    shown = compare_groups([first, second], num_examples=1).examples["llama"][0].second.text
    assert shown.startswith("start")
    assert shown.endswith("the end A")
    assert re.search(r"\[\.\.\. \d+ characters \.\.\.\]", shown)
    assert len(shown) < 3_000


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"protocol": PROTOCOL | {"temperature": 1.0}}, "another protocol: temperature 1.0, not 0.6"),
        (
            {"protocol": PROTOCOL | {"second_pass": True, "questions_per_chunk": 3}},
            "another protocol: second_pass True, not None",
        ),
    ],
)
def test_runs_of_another_protocol_are_left_out(tmp_path, change, reason):
    first = write_run(tmp_path / "a", "qwen", letters(2))
    second = write_run(tmp_path / "b", "llama", letters(2), **change)
    comparison = compare_groups([first, second], num_examples=1)
    assert comparison.differences_from_baseline().empty
    assert comparison.left_out == [LeftOut("llama", None, f"it was asked by {reason}")]


@pytest.mark.parametrize(
    ("questions", "reason"),
    [
        (QUESTIONS[:10], "it was asked 10 questions, not 12"),
        ([*QUESTIONS[:11], toy_question(99)], "1 of its questions have other ids, such as 'q99'"),
        (
            [dataclasses.replace(QUESTIONS[0], stem="Which heart?"), *QUESTIONS[1:]],
            "1 of its questions have another text or answer, such as 'q0'",
        ),
    ],
)
def test_benchmarks_with_other_questions_are_left_out(tmp_path, questions, reason):
    answers = letters(2) | {"q99": ["A", "A"]}
    first = write_run(tmp_path / "a", "qwen", answers)
    second = write_run(tmp_path / "b", "llama", answers, questions=questions)
    comparison = compare_groups([first, second], num_examples=1)
    assert comparison.left_out == [LeftOut("llama", "toy", reason)]


def test_a_benchmark_of_one_run_alone_is_left_out_and_the_rest_is_paired(tmp_path):
    first = write_run(tmp_path / "a", "qwen", letters(2), ["one", "two"])
    second = write_run(tmp_path / "b", "llama", letters(5), ["two", "three"])
    comparison = compare_groups([first, second], num_examples=1)
    assert set(comparison.differences_from_baseline()["benchmark"]) == {"two"}
    assert [(each.benchmark, each.reason.split()[0]) for each in comparison.left_out] == [
        ("one", "there"),
        ("three", "there"),
    ]


def test_runs_whose_answers_are_gone_are_left_out(tmp_path):
    first = write_run(tmp_path / "a", "qwen", letters(2))
    second = write_run(tmp_path / "b", "llama", letters(2))
    predictions_file(tmp_path / "b", "toy").unlink()
    (left_out,) = compare_groups([first, second], num_examples=1).left_out
    assert left_out.reason == f"there is no {predictions_file(tmp_path / 'b', 'toy')}"
    record = dataclasses.replace(first.record, artifacts={})
    comparison = compare_groups([dataclasses.replace(first, record=record), second], num_examples=1)
    assert [each.run for each in comparison.left_out] == ["llama"]


def test_answers_that_do_not_match_their_questions_are_a_fault(tmp_path):
    first = write_run(tmp_path / "a", "qwen", letters(2))
    second = write_run(tmp_path / "b", "llama", letters(2))
    path = predictions_file(tmp_path / "b", "toy")
    path.write_text(path.read_text().replace('"q3"', '"q2"'), encoding="utf-8")
    with pytest.raises(InputError, match=r"predictions-toy\.jsonl: question 'q2' has two predictions"):
        compare_groups([first, second], num_examples=1)


def test_one_run_has_nothing_to_be_compared_with(tmp_path):
    comparison = compare_groups([write_run(tmp_path / "a", "qwen", letters(2))], num_examples=1)
    assert comparison.table["difference"].isna().all()
    assert console_differences(comparison) is None


def test_evaluations_of_one_model_get_names_of_their_own(tmp_path):
    for name in "abc":
        write_run(tmp_path / name, "hub/qwen", letters(2))
    names = [run.name for run in read_runs(tmp_path / name for name in "abc")]
    assert names == ["qwen", "qwen (2)", "qwen (3)"]
    assert model_name("/") == "/"


@pytest.fixture
def compared(tmp_path):
    folders = [tmp_path / "runs" / name for name in "abc"]
    write_run(folders[0], "hub/qwen", letters(2), ["one", "two"])
    write_run(folders[1], "hub/llama", letters(9), ["one", "two"])
    write_run(folders[2], "hub/other", letters(9), protocol={"num_samples": 1})
    config = typed("compare", f"runs=[{tmp_path}/runs]", f"output_dir={tmp_path}/report")
    return compare(config)


def test_the_command_writes_page_tables_and_pictures(compared):
    page = compared.read_text(encoding="utf-8")
    for text in ("llama minus qwen", "+0.583", "7 / 0", "Not compared", "other</b>: it was asked by another protocol"):
        assert text in page, text
    shown = set(re.findall(r'<img src="([^"]+)"', page))
    assert shown == {path.name for path in compared.parent.glob("*.png")}
    assert "difference_0_llama.png" in shown
    with (compared.parent / "comparisons.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    compared_rows = [row for row in rows if row["difference"]]
    assert [(row["baseline"], row["group"], row["benchmark"], row["slice"]) for row in compared_rows] == [
        ("qwen", "llama", "one", "all"),
        ("qwen", "llama", "two", "all"),
    ]
    assert float(compared_rows[0]["p_adjusted"]) == pytest.approx(2 * 2 / 2**7)
    markdown = (compared.parent / "summary.md").read_text(encoding="utf-8")
    assert "### llama minus qwen" in markdown
    assert "- other: it was asked by another protocol" in markdown


def test_the_terminal_shows_tests_and_names_what_was_left_out(tmp_path, capsys):
    write_run(tmp_path / "runs" / "a", "qwen", letters(2))
    write_run(tmp_path / "runs" / "b", "llama", letters(9))
    write_run(tmp_path / "runs" / "c", "x", letters(9), ["other"])
    compare(typed("compare", f"runs=[{tmp_path}/runs]", f"output_dir={tmp_path}/report"))
    text = capsys.readouterr().out
    for part in ("difference from qwen", "llama", "+0.583 [+", "7 / 0", "not compared: x, toy: there is no"):
        assert part in text


def test_what_models_wrote_is_escaped(tmp_path):
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>|$\\frac$ {}"
    question = dataclasses.replace(QUESTIONS[0], stem=f"Which organ? {evil}", options={"A": evil, "B": "heart"})
    asked = [question, *QUESTIONS[1:]]
    runs = [
        write_run(tmp_path / "a", f"hub/{evil.replace('/', '')}", letters(0), questions=asked, text=evil),
        write_run(tmp_path / "b", "llama", letters(12), [f"b{evil.replace('/', '')}"], questions=asked, text=evil),
        write_run(tmp_path / "c", "third", letters(12), questions=asked, text=evil),
    ]
    page = write_report(compare_groups(runs, num_examples=12), tmp_path / "report")
    for name in ("index.html", "summary.md"):
        text = (page.parent / name).read_text(encoding="utf-8")
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "&lt;script" in text
    assert page.read_text(encoding="utf-8").count("Won: examples") == 1


def test_folders_on_the_command_line_are_runs(tmp_path):
    folder = tmp_path / 'alpha=0.5,note="x, y"'
    folder.mkdir()
    overrides = runs_as_override(["num_examples=2", str(folder), str(tmp_path)])
    config = typed("compare", *overrides)
    assert config.runs == [str(folder), str(tmp_path)]
    assert config.num_examples == 2
